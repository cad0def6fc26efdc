"""Moments: what a caller's `as_of` means."""

import re
from datetime import UTC, date, datetime

from caelum_common.errors import Problem
from caelum_common.market import SampleMarket

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Clock:
    """The data's own time: it stands at the close of the last session, after which nothing is known."""

    def __init__(self, market: SampleMarket) -> None:
        self._market = market

    @property
    def now(self) -> datetime:
        """Close of the last session (UTC)."""
        return self._market.close_time(self._market.last_session)

    @property
    def today(self) -> date:
        """The last session."""
        return self._market.last_session

    def moment(self, as_of: str | None) -> datetime:
        """UTC moment of an ISO date (that session's close), an ISO datetime (UTC where it names no zone), or now.

        Raises Problem 422 for anything else, for a date without a session, and for what lies after `now`.
        """
        if not as_of:
            return self.now
        if DAY.fullmatch(as_of):
            return self.close(as_of)
        try:
            moment = datetime.fromisoformat(as_of)
        except ValueError:
            raise _refused(f"as_of {as_of!r} is no ISO date or datetime", "such as 2013-03-01T21:00:00Z") from None
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment > self.now:
            raise _refused(
                f"as_of {as_of} is after the data's clock", f"ask for {self.now:%Y-%m-%dT%H:%M:%SZ} at latest"
            )
        return moment

    def close(self, day: str) -> datetime:
        """Close (UTC) of the session on an ISO date; raises Problem 422."""
        try:
            return self._market.close_time(date.fromisoformat(day))
        except ValueError:
            raise _refused(f"{day!r} is no ISO date", "such as 2013-03-01") from None
        except LookupError as error:
            raise _refused(str(error), "ask for a trading day in that range") from None


def _refused(detail: str, remedy: str) -> Problem:
    return Problem(422, "Invalid moment", detail, remedy)
