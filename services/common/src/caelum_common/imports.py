"""Keeps optional parts of libraries out of a process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Imports in this block find none of `names`, as if they weren't installed; what is imported already stays.

    For modules that a library tries to import for uses that this process doesn't have.
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None makes the import system refuse a name
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
