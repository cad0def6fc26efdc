"""What a module is going to do, as a value: check mode and the diff come from it, so they tell the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Step(Protocol):
    """One change to the host."""

    def apply(self) -> None:
        """Make the change."""


@dataclass(frozen=True)
class Plan:
    """Steps in their order, and the state before and after them as text; empty when nothing is to do."""

    steps: tuple[Step, ...] = ()
    before: str = ""
    after: str = ""

    def __bool__(self) -> bool:
        """Whether anything will change."""
        return bool(self.steps)

    def apply(self) -> None:
        """Take the steps, in order; the first that fails ends it."""
        for step in self.steps:
            step.apply()

    def diff(self) -> dict[str, str]:
        """The plan as `--diff` shows it."""
        return {"before": f"{self.before}\n", "after": f"{self.after}\n"} if self else {"before": "", "after": ""}
