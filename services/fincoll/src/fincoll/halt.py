"""The kill switch: while a file stands on this host, FinColl answers nothing that somebody could trade on."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caelum_common.errors import Problem

FLAG = "halted.json"
KIND = "urn:caelum:problem:halted"
REMEDY = "resume with `ansible-playbook resume.yml`"
# A deploy or a rollback under halt asks these at its gates, and who watches must be able to see the halt.
OPEN = frozenset({"/health", "/ready", "/version", "/metrics"})

log = structlog.get_logger()


@dataclass(frozen=True)
class Halt:
    """Who halted FinColl, since when (ISO 8601, UTC) and why; `trouble` says why that is not known."""

    by: str = ""
    at: str = ""
    reason: str = ""
    trouble: str = ""

    def told(self) -> dict[str, str]:
        """What is known of it, as /health and /ready show it."""
        return {name: value for name, value in asdict(self).items() if value}

    def problem(self) -> Problem:
        """The refusal of a request."""
        why = self.trouble or f"{self.reason} (halted by {self.by} at {self.at})"
        return Problem(503, "Halted", f"FinColl is halted: {why}", REMEDY, kind=KIND, halted=self.told())


class HaltFlag:
    """The file `halted.json` in `folder`, looked for at every question: one stat(2), some 2 µs.

    A flag that is there and cannot be read halts as well, and so does a folder that cannot be looked into: a kill
    switch that is in doubt is on. Without a folder there is no flag.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else str(folder / FLAG)
        self._seen: tuple[int, ...] = ()
        self._halt: Halt | None = None

    def read(self) -> Halt | None:
        """The halt in force at this moment; None when there is none."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)  # noqa: PTH116 - half the time of a Path's
        except (FileNotFoundError, NotADirectoryError):
            return self._now(None)
        except OSError as error:
            self._seen = ()
            return self._now(Halt(trouble=f"whether {self._path} is there cannot be seen ({error.strerror})"))
        seen = (found.st_ino, found.st_ctime_ns, found.st_size)
        if seen != self._seen:
            self._seen = seen
            return self._now(_load(self._path))
        return self._halt

    def _now(self, halt: Halt | None) -> Halt | None:
        """Remembers `halt`, and logs it where it is news."""
        if halt != self._halt:
            if halt:
                log.warning("halted: no predictions until it is resumed", **halt.told())
            else:
                log.warning("resumed")
            self._halt = halt
        if halt is None:
            self._seen = ()
        return halt


class HaltMiddleware:
    """Answers for FinColl while it is halted.

    The flag is looked for when a request arrives and again when its answer begins, so that a prediction that was
    under way when the halt came does not leave either.
    """

    def __init__(self, app: ASGIApp, flag: HaltFlag) -> None:
        self.app = app
        self.flag = flag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        if halt := self.flag.read():
            await _refuse(halt, scope, receive, send)
            return
        refused = False

        async def watched(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and (halt := self.flag.read()):
                refused = True
                await _refuse(halt, scope, receive, send)
            elif not refused:
                await send(message)

        await self.app(scope, receive, watched)


async def _refuse(halt: Halt, scope: Scope, receive: Receive, send: Send) -> None:
    await halt.problem().response(scope["path"])(scope, receive, send)


def _load(path: str) -> Halt | None:
    try:
        fields: Any = orjson.loads(Path(path).read_bytes())
        return Halt(str(fields["by"]), str(fields["at"]), str(fields["reason"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        return Halt(trouble=f"{path} is there and cannot be read ({error.strerror})")
    except (ValueError, KeyError, TypeError):
        return Halt(trouble=f"{path} is there and does not say by whom and why")
