"""Prediction jobs: what a model of each is asked, shared by those who train and those who serve."""

from dataclasses import dataclass


class UnknownJob(LookupError):
    """No job has this name; the message lists those that exist."""


@dataclass(frozen=True)
class Job:
    """One question put to a model, and for whom.

    `horizons` are in trading sessions; `quantiles` are probabilities, ascending. For horizon H the target of day t
    is the log return over H sessions from t+1: a prediction made after the close of t can be traded on at t+1.
    `primary_horizon` is the one that models are ranked by.
    """

    name: str
    short: str
    universe: tuple[str, ...]
    target: str
    horizons: tuple[int, ...] = (1, 5, 10)
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    primary_horizon: int = 5


JOBS: tuple[Job, ...] = (
    Job(
        name="llm1-tech",
        short="llm1",
        universe=("AAPL", "FB", "GOOG", "IBM", "MSFT"),
        target="log(C[t+1+H]/C[t+1]) on adjusted closes",
    ),
)


def resolve(name: str) -> Job:
    """The job of this long or short name ("llm1-tech" or "llm1"); raises UnknownJob."""
    for job in JOBS:
        if name in (job.name, job.short):
            return job
    known = ", ".join(f"{job.name} ({job.short})" for job in JOBS)
    raise UnknownJob(f"job {name!r} does not exist; known: {known}")
