"""A FinColl process with its environment file, as a deploy makes them."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from caelum_common import tokens
from support.checkpoints import JOB
from support.processes import Service, free_port, running

TOKEN = "a-token-for-tests"


class EnvFile:
    """`fincoll@stable.env`, written as a deploy does: whole, by rename."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "fincoll@stable.env"
        self.port = free_port()
        self._settings: dict[str, Any] = {
            "FINCOLL_PORT": self.port,
            "CAELUM_TOKENS_SHA256": {"tests": tokens.hash_token(TOKEN)},
            **settings,
        }
        self.write()

    def write(self, **changes: Any) -> None:
        self._settings |= changes
        lines = (
            f"{key}={value if isinstance(value, str | int) else json.dumps(value, default=str)}"
            for key, value in self._settings.items()
        )
        handle, name = tempfile.mkstemp(dir=self.path.parent)
        with os.fdopen(handle, "w") as stream:
            stream.write("\n".join(lines) + "\n")
        Path(name).replace(self.path)

    def champion(self, path: Path) -> None:
        """Points the champion of the job to `path`, for the next start or reload."""
        self.write(MODEL_REGISTRY={JOB.name: {"champion": path}})


@contextmanager
def fincoll(env: EnvFile, more: Mapping[str, str] | None = None) -> Iterator[tuple[Service, httpx.Client]]:
    """A ready FinColl and a client of it."""
    with (
        running("fincoll.server", {"CAELUM_ENV_FILE": str(env.path), **(more or {})}, env.port) as service,
        httpx.Client(base_url=service.url, timeout=10, trust_env=False) as client,
    ):
        yield service, client


def reload(client: httpx.Client, body: Mapping[str, Any] | None = None) -> httpx.Response:
    """POST /models/reload with the token."""
    return client.post(
        "/models/reload", json=body or {"alias": "champion"}, headers={"Authorization": f"Bearer {TOKEN}"}
    )


def private_market_data(folder: Path) -> Path:
    """A copy of the sample's package in `folder`, found first by a process with PYTHONPATH=folder; the data file."""
    listed = metadata.distribution("bokeh_sampledata")
    for file in listed.files or ():
        if file.parts[-2:] == ("_data", "stocks.csv.gz") or file.parts[0].endswith(".dist-info"):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
    return folder / "bokeh_sampledata" / "_data" / "stocks.csv.gz"
