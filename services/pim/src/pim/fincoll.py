"""What the dashboard reads from FinColl: recent bars, and the watchlist's predictions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import httpx

from pim.probes import said

SESSIONS_SHOWN = 45


class FinCollUnavailable(Exception):
    """FinColl did not answer, or refused the whole question; one line. `halted`: because somebody halted it."""

    def __init__(self, line: str, *, halted: bool = False) -> None:
        super().__init__(line)
        self.halted = halted


@dataclass(frozen=True)
class Fan:
    """One symbol's predictions and the closing prices that lead to them.

    `log_returns[h][q]` belongs to `horizons[h]` and `quantiles[q]`, and counts from the session after `as_of`.
    `missing` names the groups of the sentiment vector that hold no data. `refused` is the reason when there is no
    prediction; then the numbers are empty.
    """

    symbol: str
    closes: tuple[tuple[date, float], ...] = ()
    as_of: datetime | None = None
    last_close: float | None = None
    horizons: tuple[int, ...] = ()
    quantiles: tuple[float, ...] = ()
    log_returns: tuple[tuple[float, ...], ...] = ()
    degraded: bool = False
    missing: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Outlook:
    """The watchlist's fans, and where their numbers come from."""

    job: str
    fans: tuple[Fan, ...]
    source: str = ""
    as_of: str = ""
    service_version: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    degraded: bool = False


async def outlook(http: httpx.AsyncClient, url: str, job: str, symbols: Sequence[str], timeout_s: float) -> Outlook:
    """Predictions for `symbols` with their last SESSIONS_SHOWN closes; raises FinCollUnavailable."""
    try:
        async with asyncio.timeout(timeout_s):
            answer, *bars = await asyncio.gather(
                _asked(http.post(f"{url}/predict", json={"symbols": list(symbols), "job": job})),
                *(_asked(http.get(f"{url}/bars/{symbol}", params={"limit": SESSIONS_SHOWN})) for symbol in symbols),
            )
    except TimeoutError:
        raise FinCollUnavailable(f"no answer from {url} within {timeout_s:g} s") from None
    except httpx.HTTPError as error:
        raise FinCollUnavailable(f"{said(error)} at {url}") from None
    if "predictions" not in answer:
        if answer.get("halted"):
            raise FinCollUnavailable(f"{answer['detail']}; {answer['remedy']}", halted=True)
        raise FinCollUnavailable(answer.get("detail") or f"{url}/predict gave no predictions")
    try:
        return Outlook(
            job=answer["job"],
            fans=tuple(_fan(s, answer, found) for s, found in zip(symbols, bars, strict=True)),
            source=answer["source"],
            as_of=answer["as_of"],
            service_version=answer["version"],
            model=answer["model"],
            degraded=bool(answer["degraded"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FinCollUnavailable(f"{url}/predict answered in a form not known here ({error!r})") from error


async def _asked(asking: Any) -> dict[str, Any]:
    """The JSON of an answer, a problem document included."""
    response: httpx.Response = await asking
    try:
        body = response.json()
    except ValueError:
        raise FinCollUnavailable(f"{response.url} answered {response.status_code} without JSON") from None
    if not isinstance(body, dict):
        raise FinCollUnavailable(f"{response.url} answered no JSON object")
    return body


def _fan(symbol: str, answer: dict[str, Any], bars: dict[str, Any]) -> Fan:
    closes = tuple((datetime.fromisoformat(bar["time"]).date(), float(bar["close"])) for bar in bars.get("bars", ()))
    found = answer["predictions"].get(symbol)
    if found is None:
        reason = answer.get("refused", {}).get(symbol) or bars.get("detail") or "no prediction was given"
        return Fan(symbol, closes=closes, refused=str(reason))
    return Fan(
        symbol=symbol,
        closes=closes,
        as_of=datetime.fromisoformat(found["as_of"]),
        last_close=float(found["last_close"]),
        horizons=tuple(answer["horizons"]),
        quantiles=tuple(answer["quantiles"]),
        log_returns=tuple(tuple(float(value) for value in row) for row in found["log_returns"]),
        degraded=bool(found["senvec"]["degraded"]),
        missing=tuple(found["senvec"]["missing"]),
    )
