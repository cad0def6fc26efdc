"""Joins the four microservices' groups into the vector of 72."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from caelum_common.vector import schema
from senvec.answers import Document, head
from senvec.features import empty_row
from senvec.upstream import Upstream, UpstreamError

BATCH_TIMEOUT_S = 10.0


class Aggregator:
    """Answers from all microservices at once; the group of one that doesn't answer is masked, and said so."""

    def __init__(self, upstreams: Sequence[Upstream], source: str, timeout_s: float) -> None:
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._source = source
        self._timeout_s = timeout_s

    async def one(self, symbol: str, as_of: datetime) -> Document:
        """See Answers."""
        moment = as_of.isoformat()
        parts = await self._parts(
            lambda upstream: upstream.ask("GET", f"/features/{symbol}", self._timeout_s, params={"as_of": moment})
        )
        joined = _joined(parts, as_of, self._source)
        empty = {group: empty_row(group) for group in schema().groups}
        return {
            "symbol": symbol,
            **joined,
            "event_time": _newest(parts.values(), "event_time"),
            "observed_at": _newest(parts.values(), "observed_at"),
            "values": [value for group in empty for value in _of(parts, group, "values", empty[group].values)],
            "mask": [bit for group in empty for bit in _of(parts, group, "mask", empty[group].mask)],
        }

    async def many(self, symbols: Sequence[str], dates: Sequence[str], closes: Sequence[datetime]) -> Document:
        """See Answers."""
        request = {"symbols": symbols, "dates": dates}
        parts = await self._parts(
            lambda upstream: upstream.ask("POST", "/features", max(self._timeout_s, BATCH_TIMEOUT_S), json=request)
        )
        empty = {group: [[empty_row(group).values] * len(dates)] * len(symbols) for group in schema().groups}
        tables = {name: [_of(parts, group, name, empty[group]) for group in empty] for name in ("values", "mask")}
        return {
            **_joined(parts, max(closes), self._source),
            "symbols": symbols,
            "dates": dates,
            **{name: _side_by_side(groups) for name, groups in tables.items()},
        }

    async def status(self) -> Document:
        """The microservices' health, asked now: healthy with all of them, down with none, else degraded."""
        found = await asyncio.gather(*(each.status(self._timeout_s) for each in self._upstreams.values()))
        services = dict(zip(self._upstreams, found, strict=True))
        healthy = sum(service["status"] == "healthy" for service in found)
        status = "healthy" if healthy == len(found) else "degraded" if healthy else "down"
        return {"status": status, "services": services}

    def facts(self) -> dict[str, Any]:
        """What /health says of the microservices: how the aggregator has met them lately."""
        return {"upstreams": {name: upstream.state for name, upstream in self._upstreams.items()}}

    async def _parts(self, ask: Callable[[Upstream], Awaitable[Document]]) -> dict[str, Document]:
        """Documents by group, without those that didn't come."""

        async def part(upstream: Upstream) -> Document | None:
            try:
                return await ask(upstream)
            except UpstreamError:
                return None  # logged where it began, and said in the answer

        found = await asyncio.gather(*(part(upstream) for upstream in self._upstreams.values()))
        return {name: document for name, document in zip(self._upstreams, found, strict=True) if document}


def _joined(parts: dict[str, Document], as_of: datetime, source: str) -> Document:
    groups = schema().groups
    missing = [group for group in groups if group not in parts or group in parts[group]["missing"]]
    return {
        **head(as_of, source, degraded=len(parts) < len(groups)),
        "age_s": {group: parts[group]["age_s"][group] if group in parts else None for group in groups},
        "missing": missing,
    }


def _of(parts: dict[str, Document], group: str, name: str, otherwise: Any) -> Any:
    return parts[group][name] if group in parts else otherwise


def _side_by_side(groups: Sequence[Sequence[Sequence[Sequence[float]]]]) -> list[list[list[float]]]:
    """Tables [symbols][dates][width] of all groups as one table [symbols][dates][72]."""
    return [
        [[number for row in rows for number in row] for rows in zip(*of_symbol, strict=True)]
        for of_symbol in zip(*groups, strict=True)
    ]


def _newest(parts: Iterable[Document], name: str) -> datetime | None:
    return max((datetime.fromisoformat(part[name]) for part in parts if part[name]), default=None)
