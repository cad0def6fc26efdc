"""Which model answers for which job: job → alias → loaded model, swapped while requests run."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from caelum_common import jobs
from caelum_common.checkpoint import BadCheckpoint
from fincoll.predictor import Predictor

CHAMPION = "champion"

Listing = Mapping[str, Mapping[str, Path]]  # job (long or short name) → alias → .onnx on this host


class ModelMissing(LookupError):
    """No model is loaded for a job and alias; the message says how to get one."""


@dataclass(frozen=True)
class Entry:
    """One alias and the model that it points to."""

    job: str
    alias: str
    model: Predictor


@dataclass(frozen=True)
class Swap:
    """What a reload did to one job: the version before (None when there was none) and after."""

    job: str
    alias: str
    before: str | None
    after: str


class ModelRegistry:
    """Loaded models. Readers see either the old or the new set, never a half: a reload replaces one reference."""

    def __init__(self, listing: Listing) -> None:
        """Loads every model listed. Raises BadCheckpoint, UnknownJob, or ModelMissing when a job has no champion."""
        named = _by_long_name(listing)
        for job in named or {jobs.JOBS[0].name: {}}:
            if CHAMPION not in named.get(job, {}):
                raise ModelMissing(_missing(job, CHAMPION))
        self._lock = threading.Lock()
        self._entries = {(job, alias): _load(job, path) for job in named for alias, path in named[job].items()}

    def get(self, job: str, alias: str = CHAMPION) -> Predictor:
        """The model that answers for `job` (long or short name). Raises UnknownJob or ModelMissing."""
        name = jobs.resolve(job).name
        try:
            return self._entries[name, alias]
        except KeyError:
            raise ModelMissing(_missing(name, alias)) from None

    def entries(self) -> list[Entry]:
        """Every alias with its model, by job and alias."""
        return [Entry(job, alias, model) for (job, alias), model in sorted(self._entries.items())]

    def reload(self, listing: Listing, alias: str, job: str | None = None) -> list[Swap]:
        """Loads what `listing` now gives `alias` (of `job`, or of every job) and then swaps it in, all or none.

        Takes tens of milliseconds: call it from a thread. Raises BadCheckpoint, UnknownJob or ModelMissing; the old
        models then go on answering.
        """
        named = _by_long_name(listing)
        wanted = [jobs.resolve(job).name] if job else [name for name in named if alias in named[name]]
        if not wanted or any(alias not in named.get(name, {}) for name in wanted):
            raise ModelMissing(_missing(wanted[0] if wanted else "any", alias))
        with self._lock:
            before = self._entries
            fresh = {(name, alias): _load(name, named[name][alias]) for name in wanted}
            self._entries = {**before, **fresh}
        old = {key: model.manifest.version for key, model in before.items()}
        return [Swap(*key, before=old.get(key), after=model.manifest.version) for key, model in fresh.items()]


def _by_long_name(listing: Listing) -> dict[str, Mapping[str, Path]]:
    return {jobs.resolve(job).name: aliases for job, aliases in listing.items()}


def _load(job: str, path: Path) -> Predictor:
    """The model in `path`, or BadCheckpoint, also when it is another job's or answers other questions than `job`."""
    model = Predictor.load(path)
    asked = jobs.resolve(job)
    manifest = model.manifest
    if manifest.job != job:
        raise BadCheckpoint(f"{path} is a model of job {manifest.job}, not of {job}; correct MODEL_REGISTRY")
    if (manifest.horizons, manifest.quantiles) != (asked.horizons, asked.quantiles):
        raise BadCheckpoint(
            f"{path} predicts horizons {manifest.horizons} at quantiles {manifest.quantiles}, job {job} asks for "
            f"{asked.horizons} at {asked.quantiles}; train a new version"
        )
    return model


def _missing(job: str, alias: str) -> str:
    return f"no {alias} for job {job}; train one with `make train JOB={job}`, or deploy, which does it"
