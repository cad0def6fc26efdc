"""The one exception that a module turns into its failure line."""

from __future__ import annotations


class Refused(Exception):
    """What was asked cannot be done. The text is one line: what, where and the remedy."""

    def __init__(self, line: str) -> None:
        super().__init__(" ".join(line.split()))
