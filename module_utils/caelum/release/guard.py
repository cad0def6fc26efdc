"""Work on a share in a child process: one that hangs is left behind, and what waits for it goes on.

A call on a mount whose server is away may never return, and no signal ends it. So the process that Ansible waits for
never makes one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..errors import Refused

_BEAT_EVERY_S = 0.5

Beat = Callable[[], None]
"""To be called while the work goes on; it costs next to nothing."""


def unwatched() -> None:
    """The beat of work that nobody watches."""


def guarded(work: Callable[[Beat], Any], seconds: float, share: Path) -> Any:
    """What `work` returns, a value that JSON can hold; with `seconds` = 0 it runs here, unwatched.

    Refused as `work` refuses, when the file system does, and when the work was silent for `seconds`.
    """
    if not seconds:
        return work(unwatched)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, writer)
    os.close(writer)
    try:
        answer = _answer(reader, seconds)
    finally:
        os.close(reader)
    if answer is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)  # one that hangs in the kernel goes when the share comes back
        raise Refused(
            f"the share {share} did not answer for {seconds:g} s; see to its server and mount, then run this again: "
            "what runs was not touched"
        )
    os.waitpid(child, 0)
    if "refused" in answer:
        raise Refused(answer["refused"])
    return answer["result"]


def _answer(reader: int, seconds: float) -> dict[str, Any] | None:
    """What the child said at last; None when it was silent for `seconds`."""
    told = b""
    while select.select([reader], [], [], seconds)[0]:
        piece = os.read(reader, 1 << 16)
        if not piece:
            said = told.rsplit(b"\n", 2)[-2:-1]
            if not said or not said[0]:
                return {"refused": "the process that reads the share was ended; run this again"}
            answer: dict[str, Any] = json.loads(said[0])
            return answer
        told += piece
    return None


def _work(work: Callable[[Beat], Any], writer: int) -> NoReturn:
    """The child: it keeps none of its parent's files, so that nobody waits for it to close them."""
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.closerange(3, writer)
        os.closerange(writer + 1, 4096)
        last = time.monotonic()

        def beat() -> None:
            nonlocal last
            if time.monotonic() - last >= _BEAT_EVERY_S:
                last = time.monotonic()
                os.write(writer, b"\n")

        _say(writer, _outcome(work, beat))
    finally:
        os._exit(0)


def _outcome(work: Callable[[Beat], Any], beat: Beat) -> dict[str, Any]:
    try:
        return {"result": work(beat)}
    except Refused as refusal:
        return {"refused": str(refusal)}
    except OSError as error:
        where = error.filename or "the share"
        return {"refused": f"{where}: {error.strerror}; check its owner, mode and space"}


def _say(writer: int, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(writer, data) :]
