"""A circuit breaker: after some failures in a row, callers stop asking for a while."""

import threading
import time
from collections.abc import Callable
from typing import Literal


class Breaker:
    """Closed lets all calls pass; open none; half-open one trial, whose outcome closes or opens it again.

    Ask `allow()` before a call, then report `success()` or `failure()`. A trial whose outcome is never reported is
    forgotten after `reset_after_s`, so a cancelled call can't keep the breaker open for good. Safe between threads.
    """

    def __init__(
        self, failures: int = 3, reset_after_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._reset_after_s = reset_after_s
        self._clock = clock
        self._failures = 0
        self._wait_until = 0.0
        self._lock = threading.Lock()

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """What the next call will meet."""
        if self._failures < self._limit:
            return "closed"
        return "open" if self._clock() < self._wait_until else "half-open"

    def allow(self) -> bool:
        """Whether a call may be made now."""
        with self._lock:
            state = self.state
            if state == "half-open":
                self._wait_until = self._clock() + self._reset_after_s
            return state != "open"

    def success(self) -> None:
        """A call succeeded: close."""
        with self._lock:
            self._failures = 0

    def failure(self) -> None:
        """A call failed: open at the limit."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._limit:
                self._wait_until = self._clock() + self._reset_after_s
