"""Waiting for what comes to pass by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for a condition; it may fail meanwhile."""
    deadline = time.monotonic() + seconds
    said: Any = None
    while time.monotonic() < deadline:
        try:
            said = condition()
            if said:
                return said
        except Exception as error:
            said = error
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come to pass within {seconds:g} s; last: {said}")
