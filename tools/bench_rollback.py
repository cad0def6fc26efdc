"""Watches which release of a service answers while it is taken back."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from types import TracebackType
from typing import Self

PAUSE_S = 0.02
TIMEOUT_S = 1.0


class Watch:
    """Asks `url` for its version all through a block.

    `settled_s` is the time from the block's beginning to the first answer of `version` after which no other release
    answered; None when there was none. `away_s` is how long nobody answered, from the last answer to the next.
    """

    def __init__(self, url: str, version: str) -> None:
        self._url = url
        self._version = version
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.settled_s: float | None = None
        self.away_s = 0.0
        self.last = ""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(2 * TIMEOUT_S)

    def _watch(self) -> None:
        answered = self._began
        while not self._over.wait(PAUSE_S):
            said = self._ask()
            now = time.monotonic()
            if not said:
                continue
            self.away_s = max(self.away_s, now - answered)
            answered, self.last = now, said
            if said != self._version:
                self.settled_s = None
            elif self.settled_s is None:
                self.settled_s = now - self._began

    def _ask(self) -> str:
        try:
            with self._direct.open(self._url, timeout=TIMEOUT_S) as answer:
                return str(json.load(answer)["version"])
        except (OSError, ValueError, KeyError):
            return ""
