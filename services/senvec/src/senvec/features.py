"""What a group of features is, and the one that has no data."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from caelum_common.vector import schema


class Row(NamedTuple):
    """One group's features of one symbol at one moment.

    `values` and `mask` have the group's width; where the mask is 0 the value is 0 and means "not known".
    `event_time` and `observed_at` are those of the newest observation that entered; None where there was none.
    """

    values: Sequence[float]
    mask: Sequence[int]
    event_time: datetime | None
    observed_at: datetime | None


class FeatureSource(Protocol):
    """A group of features. `row` is quick, asks nobody, and lets nothing in that was observed after `as_of`."""

    group: str

    def row(self, symbol: str, as_of: datetime) -> Row:
        """The features of `symbol` as they were known at `as_of` (UTC)."""
        ...


def empty_row(group: str) -> Row:
    """All of a group's features as unknown."""
    nothing = (0,) * len(schema().groups[group])
    return Row(nothing, nothing, None, None)


def masked_row(found: Sequence[float | None], event_time: datetime | None, observed_at: datetime | None) -> Row:
    """A row from values with None where unknown; six decimals, so that a vector stays small on the wire."""
    values = tuple(0 if value is None else round(value, 6) for value in found)
    mask = tuple(int(value is not None) for value in found)
    return Row(values, mask, event_time, observed_at) if any(mask) else Row(values, mask, None, None)


class NoData:
    """A group without a configured provider: everything masked."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._row = empty_row(group)

    def row(self, symbol: str, as_of: datetime) -> Row:
        """Everything masked."""
        return self._row


def clipped(value: float, limit: float = 1.0) -> float:
    """`value` held within ±limit."""
    return max(-limit, min(limit, value))
