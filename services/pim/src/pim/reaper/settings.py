"""Typed settings of caelum-reaper; the only reader of its environment.

A dataclass where the services have pydantic, which alone would double the watcher's memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caelum.instance import envfile
from caelum_common.start import CannotStart
from pim.address import NoDatabase, address


@dataclass(frozen=True)
class ReaperSettings:
    """The host (`address` as the inventory names it), how its instances run, and the database that is asked.

    `login` is what the modules of `caelum` take as such. Times are in seconds.
    """

    prefix: Path
    inventory: str
    address: str
    login: Mapping[str, Any] = field(repr=False)
    runtime: str = "native"
    ready_timeout_s: float = 60.0
    log_level: str = "INFO"
    component: str = "caelum-reaper"

    @property
    def instance(self) -> str:
        """Component and slot."""
        return f"{self.component}@stable"


def read(environ: Mapping[str, str] = os.environ) -> ReaperSettings:
    """Settings from the environment, then from the file that CAELUM_ENV_FILE names; raises CannotStart."""
    file = environ.get("CAELUM_ENV_FILE")
    if file and not Path(file).is_file():
        raise CannotStart(f"environment file {file} is not there; correct CAELUM_ENV_FILE or deploy again")
    found = {**(envfile.read(Path(file)) if file else {}), **environ}
    missing = [key for key in ("CAELUM_PREFIX", "CAELUM_INVENTORY", "CAELUM_ADDRESS") if not found.get(key)]
    if missing:
        raise CannotStart(f"settings don't fit: {', '.join(missing)} must be given; correct the environment{_or(file)}")
    try:
        place = address(environ)
        timeout_s = float(found.get("CAELUM_READY_TIMEOUT") or ReaperSettings.ready_timeout_s)
    except NoDatabase as error:
        raise CannotStart(str(error)) from None
    except ValueError:
        raise CannotStart(
            f"settings don't fit: CAELUM_READY_TIMEOUT is no number of seconds; correct the environment{_or(file)}"
        ) from None
    return ReaperSettings(
        prefix=Path(str(found["CAELUM_PREFIX"])),
        inventory=str(found["CAELUM_INVENTORY"]),
        address=str(found["CAELUM_ADDRESS"]),
        login={
            "host": place.host,
            "port": place.port,
            "dbname": place.database,
            "user": place.user,
            "password": place.password,
            "sslmode": place.sslmode,
            "ca": place.ca,
        },
        runtime=found.get("CAELUM_RUNTIME") or ReaperSettings.runtime,
        ready_timeout_s=timeout_s,
        log_level=found.get("LOG_LEVEL") or ReaperSettings.log_level,
        component=found.get("CAELUM_COMPONENT") or ReaperSettings.component,
    )


def _or(file: str | None) -> str:
    return f" or {file}" if file else ""
