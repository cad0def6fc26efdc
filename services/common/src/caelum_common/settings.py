"""Settings that every service has; the only reader of the environment."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from caelum_common import environment
from caelum_common.start import CannotStart


class ServiceSettings(BaseSettings):
    """Read from the process's environment, then from the file that `CAELUM_ENV_FILE` names.

    A field's key is its name in upper case; an empty value means the default. Raises CannotStart for a value that
    doesn't fit, and for an environment file that isn't there.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    caelum_component: str
    caelum_slot: Literal["stable", "candidate"] = "stable"
    caelum_environment: Literal["dev", "test", "prod"] = "dev"
    caelum_data: Literal["sample", "live"] = "sample"
    caelum_bind: str = "127.0.0.1"
    caelum_state_dir: Path | None = None
    caelum_share: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    caelum_tokens_sha256: dict[str, str] = {}

    def __init__(self, **values: Any) -> None:
        file = environment.file()
        try:
            super().__init__(_env_file=file, **values)
        except ValidationError as error:
            raise CannotStart(_one_line(error, file)) from None

    @property
    def instance(self) -> str:
        """Component and slot, such as `fincoll@stable`."""
        return f"{self.caelum_component}@{self.caelum_slot}"


def _one_line(error: ValidationError, file: str | None) -> str:
    # Values are left out: a setting may be a secret.
    wrong = "; ".join(f"{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
    return f"settings don't fit: {wrong}; correct the environment" + (f" or {file}" if file else "")


def credential(name: str) -> str | None:
    """The text of credential file `name`, without its last line end; None where it was not handed over.

    Files come as systemd's LoadCredential= hands them: one per secret in `$CREDENTIALS_DIRECTORY`.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return (Path(folder) / name).read_text().rstrip("\n")
    except FileNotFoundError:
        return None
