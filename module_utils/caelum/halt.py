"""The kill switch of FinColl on one host: a file that every instance looks for, and what the instances then answer."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .atomic import fsync_dir, make_dirs
from .errors import Refused
from .instance.layout import Layout

FLAG = "halted.json"
# Refused by a halted FinColl, and cheap to answer for another.
ROUTE = "/models"
PAUSE_S = 0.05
SHORTEST_WAIT_S = 0.25
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - bound by the service, asked here by loopback


@dataclass(frozen=True)
class Halt:
    """Who halted, since when (ISO 8601, UTC) and why."""

    by: str
    at: str
    reason: str

    @property
    def line(self) -> str:
        """For a person."""
        return f"since {self.at} by {self.by}: {self.reason}"


@dataclass(frozen=True)
class Instance:
    """Where a FinColl of this host answers."""

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class Answer:
    """What an instance last said.

    `state` is halted, serving (any other answer), silent (none came in time) or down (nobody listens).
    """

    name: str
    state: str
    detail: str


def now() -> str:
    """This moment as the flag writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def flag(prefix: Path) -> Path:
    """The flag's place under `prefix`. Refused where nothing is deployed: nobody would ever look there."""
    state = prefix / "var/lib/caelum"
    if not state.is_dir():
        raise Refused(f"nothing is deployed under {prefix} ({state} is missing); name the place with -e caelum_prefix=")
    return state / "fincoll" / FLAG


def read(path: Path) -> Halt | None:
    """What the flag says; None when it is not there. One that says nothing halts as well and is given as unknown."""
    try:
        fields = json.loads(path.read_bytes())
        return Halt(str(fields["by"]), str(fields["at"]), str(fields["reason"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Halt("unknown", "unknown", "the flag does not say")
    except OSError as error:
        raise _barred(path, "read", error) from None


def write(path: Path, halt: Halt) -> None:
    """Put the flag up: in force at once, and on the disk when this returns.

    The other way round, as for other files, a slow disk would hold up the halt. A flag torn by a power cut halts too.
    """
    try:
        make_dirs(path.parent)
        # where the folder is another user's, a name that could be foreseen might be a link of that user's
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(halt), file)
            file.flush()
            os.fchmod(descriptor, 0o644)
            Path(temporary).replace(path)
            os.fsync(descriptor)
        fsync_dir(path.parent)
    except OSError as error:
        raise _barred(path, "written", error) from None


def remove(path: Path) -> None:
    """Take the flag down."""
    try:
        path.unlink(missing_ok=True)
        fsync_dir(path.parent)
    except OSError as error:
        raise _barred(path, "removed", error) from None


def instances(prefix: Path) -> list[Instance]:
    """Every FinColl that is deployed under `prefix`, whatever its slot, from the settings that it started with."""
    found = []
    for path in sorted(Layout(prefix).config.glob("fincoll@*.env")):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise _barred(path, "read", error) from None
        settings = {key: value.strip("'") for key, _, value in (line.partition("=") for line in lines)}
        bind = settings.get("CAELUM_BIND", "127.0.0.1")
        port = settings.get("FINCOLL_PORT", "")
        if not port.isdigit():
            raise Refused(f"{path} names no FINCOLL_PORT, so {path.stem} cannot be asked; deploy again")
        found.append(Instance(path.stem, EVERYWHERE.get(bind, bind), int(port)))
    return found


def watch(listed: list[Instance], wanted: str, deadline: float) -> list[Answer]:
    """Ask all at once, each until it is `wanted` (halted, serving) or `deadline` (time.monotonic()) has passed.

    Each is asked at least once, and one that is down only once: it looks for the flag when it starts.
    """
    if not listed:
        return []
    with ThreadPoolExecutor(max_workers=len(listed)) as pool:
        return list(pool.map(lambda instance: _until(lambda left: ask(instance, left), wanted, deadline), listed))


def ask(instance: Instance, timeout_s: float) -> Answer:
    """What `instance` says now, on a connection of its own."""
    url = f"http://{instance.host}:{instance.port}{ROUTE}"
    connection = http.client.HTTPConnection(instance.host, instance.port, timeout=timeout_s)
    try:
        connection.request("GET", ROUTE)
        response = connection.getresponse()
        body = response.read()
    except ConnectionRefusedError:
        return Answer(instance.name, "down", f"{url} refuses connections")
    except TimeoutError:
        return Answer(instance.name, "silent", f"{url} did not answer in time")
    except (OSError, http.client.HTTPException) as error:
        return Answer(instance.name, "silent", f"{url} breaks off ({type(error).__name__})")
    finally:
        connection.close()
    state = "halted" if _is_halted(response.status, body) else "serving"
    return Answer(instance.name, state, f"{url} answers {response.status}")


def _until(asking: Callable[[float], Answer], wanted: str, deadline: float) -> Answer:
    while True:
        answer = asking(max(deadline - time.monotonic(), SHORTEST_WAIT_S))
        if answer.state in {wanted, "down"} or time.monotonic() + PAUSE_S >= deadline:
            return answer
        time.sleep(PAUSE_S)


def _is_halted(status: int, body: bytes) -> bool:
    """Whether this is the refusal of a halted FinColl, and not another's 503."""
    if status != 503:
        return False
    try:
        document: Any = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, Mapping) and isinstance(document.get("halted"), Mapping)


def _barred(path: Path, verb: str, error: OSError) -> Refused:
    return Refused(f"{path} cannot be {verb} ({error.strerror}); run as the user who deployed, or as root")
