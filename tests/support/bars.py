"""Made-up bars for tests that need a history of a known shape; real ones come from the sample market."""

from datetime import date, datetime, timedelta

import numpy as np

from caelum_common.market import Bar


def random_bars(symbol: str, sessions: int, seed: int = 0, start: date = date(2001, 1, 1)) -> list[Bar]:
    """A random walk with a split-and-dividend adjustment; one bar a calendar day, which no code may mind."""
    chance = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(chance.normal(0, 0.02, sessions)))
    factor = np.where(np.arange(sessions) < sessions // 2, 0.5, 1.0)
    bars = []
    for at in range(sessions):
        low, high = close[at] * (1 - chance.uniform(0, 0.02)), close[at] * (1 + chance.uniform(0, 0.02))
        time = datetime.fromisoformat(f"{start + timedelta(days=at)}T21:00:00+00:00")
        bars.append(
            Bar(
                symbol=symbol,
                date=time.date(),
                time=time,
                open=float(chance.uniform(low, high)),
                high=float(high),
                low=float(low),
                close=float(close[at]),
                volume=float(chance.integers(1_000, 1_000_000)),
                adjusted_close=float(close[at] * factor[at]),
                source="sample",
                observed_at=time,
            )
        )
    return bars
