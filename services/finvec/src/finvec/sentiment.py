"""Sentiment vectors of past sessions, asked from SenVec over HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import httpx
import numpy as np

from caelum_common import vector
from caelum_common.windows import Floats
from finvec.errors import OtherSchema

CELLS = (
    500  # dates asked for at once: ten times less than SenVec allows, since it keeps the memory of its largest answer
)


@dataclass(frozen=True)
class Sentiment:
    """Values and mask per symbol, each float32 (sessions asked for, WIDTH); `note` says where they come from."""

    values: Mapping[str, Floats]
    mask: Mapping[str, Floats]
    note: str


def absent(why: str) -> Sentiment:
    """No sentiment at all: every dimension is masked."""
    return Sentiment({}, {}, f"none: {why}")


def fetch(url: str, dates: Mapping[str, Sequence[date]], tell: Callable[[str, float], None]) -> Sentiment:
    """The vectors of each symbol at its dates (as of those sessions' closes).

    All or nothing: when SenVec can't be reached or stops answering, no sentiment is used, so that a model never
    trains on a history that is masked from some day on for no market reason. `tell` gets a line and the share done.
    Raises OtherSchema.
    """
    values: dict[str, Floats] = {}
    mask: dict[str, Floats] = {}
    try:
        # A proxy is for the way out, not for a neighbour.
        with httpx.Client(base_url=url, timeout=httpx.Timeout(60.0, connect=2.0), trust_env=False) as client:
            for done, (symbol, days) in enumerate(dates.items()):
                tell(f"sentiment of {symbol}", done / len(dates))
                parts = [_ask(client, symbol, days[at : at + CELLS]) for at in range(0, len(days), CELLS)]
                values[symbol] = np.concatenate([part[0] for part in parts])
                mask[symbol] = np.concatenate([part[1] for part in parts])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        return absent(f"SenVec at {url} did not answer: {type(error).__name__} {error}".splitlines()[0])
    known = float(np.mean([known.mean() for known in mask.values()]))
    return Sentiment(values, mask, f"SenVec at {url}, {known:.0%} of the dimensions known")


def _ask(client: httpx.Client, symbol: str, days: Sequence[date]) -> tuple[Floats, Floats]:
    """Values and mask of one symbol, float32 (len(days), WIDTH)."""
    answer = client.post("/features", json={"symbols": [symbol], "dates": [day.isoformat() for day in days]})
    answer.raise_for_status()
    body = answer.json()
    ours = vector.schema().hash
    if body["schema_hash"] != ours:
        raise OtherSchema(
            f"SenVec at {client.base_url} speaks sentiment schema {body['schema_hash'][:12]}…, "
            f"this release {ours[:12]}…; deploy both at one version"
        )
    if body["degraded"]:
        raise ValueError("only some of its services answer")
    shape = (len(days), vector.WIDTH)
    values = np.asarray(body["values"][0], dtype=np.float32).reshape(shape)
    return values, np.asarray(body["mask"][0], dtype=np.float32).reshape(shape)
