"""Whether instances can do their job: `/ready`, asked until it said so several times in a row."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import Refused

if TYPE_CHECKING:
    from psycopg2 import extensions

ANSWER_TIMEOUT_S = 5.0
BAD_REQUEST = 400
# A service that gives up says why in one line of its log and stays down. A line at most this old when the probing
# begins is that of the start just made; an older one counts once the instance has been silent for as long.
LAST_WORDS_AGE_S = 10.0
LAST_WORDS = "cannot start:"
LOG_TAIL = 8192


@dataclass(frozen=True)
class Instance:
    """Where to ask, and `expect_version`, the only version that counts as ready.

    What it says is in `log`, a file, or in the journal of `unit`.
    """

    name: str
    url: str
    path: str = "/ready"
    log: str | None = None
    expect_version: str | None = None
    service: str | None = None
    unit: str | None = None
    host: str | None = None

    @property
    def where(self) -> str:
        """Where a person reads what it says, "" when that is not known."""
        if self.unit:
            return f"`journalctl -u {self.unit}`" + (f" on {self.host}" if self.host else "")
        return self.log or ""


@dataclass(frozen=True)
class Gate:
    """How often in a row an instance must be ready, seconds between two questions, and seconds in all."""

    passes: int
    interval: float
    timeout: float

    def __post_init__(self) -> None:
        """Refuses what can never be passed."""
        if self.passes < 1 or self.interval < 0 or self.timeout < (self.passes - 1) * self.interval:
            raise Refused(
                f"{self.passes} passes every {self.interval:g} s do not fit into {self.timeout:g} s; "
                "ask for at least one pass and raise `timeout`"
            )


@dataclass(frozen=True)
class Seen:
    """One answer, or its absence: `detail` is empty when the instance is ready, and ends with a remedy otherwise."""

    name: str
    version: str | None
    status: str
    response_time_ms: int | None
    detail: str = ""
    refused: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the probing came to; `failure` is the line for a person, empty when the instance passed."""

    seen: Seen
    failure: str = ""


def watch_all(instances: Sequence[Instance], gate: Gate, host: str) -> list[Outcome]:
    """Probe all instances at once; outcomes in the order of the instances."""
    if not instances:
        return []
    with ThreadPoolExecutor(max_workers=len(instances)) as pool:
        return list(pool.map(lambda instance: watch(instance, gate, host), instances))


def watch(instance: Instance, gate: Gate, host: str) -> Outcome:
    """Probe until the instance passed the gate, gave up by its own words, or the time is over."""
    began, began_wall = time.monotonic(), time.time()
    streak = 0
    while True:
        asked = time.monotonic()
        left = gate.timeout - (asked - began)
        seen = probe(instance, min(ANSWER_TIMEOUT_S, max(left, gate.interval, 0.1)))
        streak = 0 if seen.detail else streak + 1
        if streak >= gate.passes:
            return Outcome(seen)
        silent_s = time.monotonic() - began
        if seen.refused:
            line = _gave_up(instance, began_wall, silent_s)
            if line:
                return Outcome(seen, f"{instance.name} on {host} {line}")
        if silent_s + gate.interval > gate.timeout:
            why = (
                seen.detail
                or f"it was ready {streak} times in a row, {gate.passes} are asked for; read {instance.where}"
            )
            return Outcome(seen, f"{instance.name} on {host} is not ready after {gate.timeout:g} s: {why}")
        time.sleep(max(0.0, gate.interval - (time.monotonic() - asked)))


def probe(instance: Instance, timeout_s: float) -> Seen:
    """Ask once. A new connection, since one kept alive could outlive a restart."""
    url = instance.url.rstrip("/") + instance.path
    look = f"read {instance.where}" if instance.where else "read its log"
    asked = time.monotonic()
    try:
        status, body = _get(url, timeout_s)
        took_ms = round((time.monotonic() - asked) * 1000)
        if status >= BAD_REQUEST:
            return Seen(instance.name, None, "degraded", took_ms, _problem(status, body, url, look))
        version = _version(instance, timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        refused = isinstance(error, ConnectionRefusedError)
        return Seen(instance.name, None, "down", None, f"{_silence(error, url, timeout_s)}; {look}", refused)
    if instance.expect_version not in {None, "", version}:
        detail = f"version {version or 'unknown'} answers at {url}, expected {instance.expect_version}; {look}"
        return Seen(instance.name, version, "degraded", took_ms, detail)
    return Seen(instance.name, version, "healthy", took_ms)


class _Unconnected(TimeoutError):
    """Nobody took the connection in time."""


def _get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Status and body; no proxy of the environment has any business between a host and its own services."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url} is no http address")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        try:
            connection.connect()
        except TimeoutError:
            raise _Unconnected from None
        connection.request("GET", parts.path or "/", headers={"accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _gave_up(instance: Instance, began: float, silent_s: float) -> str:
    """The line with which a service gave up: the last of its log, or what systemd's journal has of the start."""
    if instance.unit:
        return journal_words(instance.unit)
    return last_words(Path(instance.log), began, silent_s) if instance.log else ""


def journal_words(unit: str) -> str:
    """The line with which the unit's last process gave up, "" when it did not, or runs again."""
    if subprocess.run(["systemctl", "is-failed", "--quiet", unit], check=False).returncode != 0:  # noqa: S603, S607
        return ""
    command = ["journalctl", "-u", unit, "-o", "cat", "-n", "20", "--no-pager"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    lines = [line.strip() for line in said.splitlines()]
    return next((line for line in reversed(lines) if line.startswith(LAST_WORDS)), "")


def last_words(log: Path, began: float, silent_s: float) -> str:
    """The line with which a service gave up, if that is the last of `log` and belongs to the start just made."""
    try:
        written = log.stat().st_mtime
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if not last.startswith(LAST_WORDS):
        return ""
    return last if written >= began - LAST_WORDS_AGE_S or silent_s >= LAST_WORDS_AGE_S else ""


def record(cursor: extensions.cursor, instances: Sequence[Instance], outcomes: Sequence[Outcome], host: str) -> None:
    """Add what was seen to `service_health`."""
    for instance, outcome in zip(instances, outcomes, strict=True):
        seen = outcome.seen
        metadata = {"instance": instance.name, "host": host, "url": instance.url, "detail": outcome.failure}
        cursor.execute(
            """INSERT INTO service_health (service_name, version, status, response_time_ms, metadata)
               VALUES (%s, %s, %s, %s, %s)""",
            (
                instance.service or instance.name.partition("@")[0],
                *(seen.version, seen.status, seen.response_time_ms, json.dumps(metadata)),
            ),
        )


def _silence(error: Exception, url: str, timeout_s: float) -> str:
    """Why there was no answer."""
    if isinstance(error, _Unconnected):
        return f"no connection to {url} within {timeout_s:g} s"
    if isinstance(error, TimeoutError):
        return f"no answer from {url} within {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return f"{url} refuses connections"
    if isinstance(error, (ConnectionError, http.client.HTTPException)):
        return f"{url} breaks connections off"
    return f"{url} cannot be asked ({type(error).__name__})"


def _problem(status: int, body: bytes, url: str, look: str) -> str:
    """What a problem document says, on one line; of other answers the status."""
    try:
        document: dict[str, Any] = json.loads(body)
        detail, remedy = str(document["detail"]), str(document.get("remedy") or look)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{url} answers {status}; {look}"
    return " ".join(f"{detail.rstrip('.;')}; {remedy}".split())


def _version(instance: Instance, timeout_s: float) -> str | None:
    status, body = _get(instance.url.rstrip("/") + "/version", timeout_s)
    try:
        return str(json.loads(body)["version"]) if status < BAD_REQUEST else None
    except (ValueError, KeyError, TypeError):
        return None
