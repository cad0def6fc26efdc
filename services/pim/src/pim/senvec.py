"""What the dashboard reads from SenVec: the watchlist's newest vectors, and what their dimensions mean."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from pim.probes import said


class SenVecUnavailable(Exception):
    """SenVec's aggregator did not answer, or not with vectors; one line."""


@dataclass(frozen=True)
class Dimension:
    """One of the 72: its name, the group it belongs to, and how it is made in words."""

    name: str
    group: str
    formula: str


@dataclass(frozen=True)
class Vectors:
    """One vector per symbol: `values[s][d]` belongs to `symbols[s]` and `dimensions[d]`, None where it is masked."""

    symbols: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    values: tuple[tuple[float | None, ...], ...]
    schema: str = ""
    source: str = ""
    as_of: str = ""
    version: str = ""
    degraded: bool = False


async def vectors(http: httpx.AsyncClient, url: str, symbols: Sequence[str], timeout_s: float) -> Vectors:
    """The vectors of `symbols` at the last session's close, asked of the aggregator; raises SenVecUnavailable."""
    try:
        async with asyncio.timeout(timeout_s):
            answered, schema = await asyncio.gather(
                http.post(f"{url}/features", json={"symbols": list(symbols)}), http.get(f"{url}/schema")
            )
    except TimeoutError:
        raise SenVecUnavailable(f"no answer from {url} within {timeout_s:g} s") from None
    except httpx.HTTPError as error:
        raise SenVecUnavailable(f"{said(error)} at {url}") from None
    for response in (answered, schema):
        if response.status_code != 200:
            raise SenVecUnavailable(f"{response.url} answered {response.status_code}")
    try:
        return read(answered.json(), schema.json())
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise SenVecUnavailable(f"{url}/features answered in a form not known here ({error!r})") from None


def read(answer: Mapping[str, Any], schema: Mapping[str, Any]) -> Vectors:
    """The vectors of a batch's answer; raises KeyError, TypeError or ValueError where it has another form."""
    if answer["schema_hash"] != schema["hash"]:
        raise ValueError(f"vectors of schema {answer['schema']}, names of schema {schema['name']}")
    dimensions = tuple(Dimension(each["name"], each["group"], each["formula"]) for each in schema["dimensions"])
    rows = [
        tuple(float(value) if bit else None for value, bit in zip(values[-1], mask[-1], strict=True))
        for values, mask in zip(answer["values"], answer["mask"], strict=True)
    ]
    if any(len(row) != len(dimensions) for row in rows) or len(rows) != len(answer["symbols"]):
        raise ValueError("the table of values does not fit its symbols and dimensions")
    return Vectors(
        symbols=tuple(answer["symbols"]),
        dimensions=dimensions,
        values=tuple(rows),
        schema=answer["schema"],
        source=answer["source"],
        as_of=answer["as_of"],
        version=answer["version"],
        degraded=bool(answer["degraded"]),
    )
