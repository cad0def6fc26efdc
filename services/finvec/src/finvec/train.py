"""Trains a job's model: `python -m finvec.train --job llm1-tech`. Read `train` from top to bottom.

The last line of standard output is one JSON object that says what was written; all else goes to standard error.
"""

import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caelum_common import release, vector
from caelum_common.checkpoint import Manifest, Paths
from caelum_common.jobs import Job
from caelum_common.market import Bar, SampleMarket, market
from caelum_common.windows import BAR_CHANNELS, CHANNELS, bar_features
from finvec import cli, protocol, sentiment
from finvec.data import Panel, build
from finvec.errors import CannotResume, NoData
from finvec.order import Order, Resume
from finvec.presets import Preset
from finvec.progress import Reporter
from finvec.sentiment import Sentiment

if TYPE_CHECKING:  # torch takes seconds to load: not before the data are there
    from finvec.candidates import Candidate
    from finvec.fit import Task
    from finvec.state import StateFile

PARITY_SAMPLES = 16


def train(order: Order, reporter: Reporter) -> dict[str, Any]:
    """Trains both candidates of the job, writes the better one and says what it wrote.

    Raises NoData, OtherSchema, Leak, CannotStart, CannotResume, ExportFailed and VersionTaken, each one line.
    """
    began = time.monotonic()

    reporter.phase("reading bars and sentiment", upto=0.15)
    source = market(order.data)
    histories = read_bars(source, order.job, order.preset)
    known = ask_senvec(order.senvec, histories, reporter)
    reporter.say(f"sentiment: {known.note}")
    panel = build(histories, known, order.job)

    reporter.phase("loading torch", upto=0.25)
    from finvec import candidates, evaluate, export
    from finvec.state import StateFile

    tasks = make_tasks(order, panel)
    newest = tasks[-1]
    reporter.device = device_name(newest)
    reporter.say(f"training on {reporter.device}")
    same = json.dumps([panel.fingerprint(), repr(order.preset), order.job.name, release.current().version])
    state = StateFile(order.out / f".{order.job.name}-{order.preset.name}.state.pt", fingerprint=same)
    unfinished = take_up(state, order.resume, reporter)

    reporter.phase("fitting the ridge", upto=0.3)
    ridge = candidates.fit_ridge(newest, order.preset.seeds[0])

    reporter.phase("fitting the transformer", upto=0.85)
    transformer = candidates.fit_transformer(tasks, state, unfinished, reporter.tell)

    # Validation picks; the test figures of both are reported, and decide nothing.
    best, other = sorted((ridge, transformer), key=lambda each: each.validation)
    reporter.say(f"validation pinball: {best.kind} {best.validation:.5f}, {other.kind} {other.validation:.5f}")

    reporter.phase("writing the checkpoint", upto=1.0)
    baselines = evaluate.baselines(panel, newest.train, newest.test, order.job)
    manifest = describe(order, panel, source, known, best) | {
        "baselines": {name: figure.document() for name, figure in baselines.items()} | {other.kind: other.metrics()},
        "trials": best.trials + other.trials,
    }
    manifest["metrics"]["device"] = reporter.device
    samples = newest.windows.at(newest.test[-PARITY_SAMPLES:])[0].cpu().numpy()
    paths, written = export.write(best.model, manifest, order.out, samples)
    state.remove()
    reporter.tell(f"wrote {paths.manifest}", now=True)
    timing = {"seconds": round(time.monotonic() - began, 2), "phases": reporter.finish()}
    return outcome(paths, written) | timing


def read_bars(source: SampleMarket, job: Job, preset: Preset) -> dict[str, list[Bar]]:
    """As many of the newest bars as the folds need, of the job's symbols that the source knows. Raises NoData, Leak."""
    symbols = [symbol for symbol in job.universe if symbol in source.symbols]
    if not symbols:
        raise NoData(f"the source {source.source!r} knows no symbol of job {job.name}; check CAELUM_DATA")
    histories = {symbol: source.bars(symbol, count=protocol.needed_sessions(preset)) for symbol in symbols}
    chance = random.Random(0)  # noqa: S311 - which days are spot-checked is no secret
    for bars in histories.values():
        protocol.check_causal(bar_features, bars, chance.sample(range(len(bars)), k=min(3, len(bars))))
    return histories


def ask_senvec(url: str, histories: Mapping[str, Sequence[Bar]], reporter: Reporter) -> Sentiment:
    """The sentiment of every bar, or none of it."""
    if not url:
        return sentiment.absent("SENVEC_API_URL is not set")
    dates = {symbol: [bar.date for bar in bars] for symbol, bars in histories.items()}
    return sentiment.fetch(url, dates, reporter.tell)


def make_tasks(order: Order, panel: Panel) -> "list[Task]":
    """One task per fold, oldest first; each held to the protocol. Raises NoData, Leak."""
    import torch

    from finvec.fit import Task
    from finvec.windows import Windows

    if order.preset.threads:
        torch.set_num_threads(order.preset.threads)
    device = torch.device("cuda" if order.preset.accelerated and torch.cuda.is_available() else "cpu")
    windows = Windows(panel, device)
    tasks = []
    for fold in protocol.walk_forward(len(panel.sessions), order.preset, max(order.job.horizons)):
        slices = [protocol.rows_in(panel, span) for span in (fold.train, fold.validate, fold.test)]
        if any(len(rows) == 0 for rows in slices):
            raise NoData(f"a fold of job {order.job.name} holds no whole window; the bars have gaps")
        train, validate, test = slices
        protocol.check_disjoint(panel, train, validate)
        protocol.check_disjoint(panel, validate, test)
        tasks.append(Task(order.job, order.preset, panel, windows, train, validate, test))
    return tasks


def device_name(task: "Task") -> str:
    """What the tensors are on, in words."""
    import torch

    device = task.windows.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def take_up(state: "StateFile", resume: Resume, reporter: Reporter) -> dict[str, Any] | None:
    """The state of an unfinished training, None to begin anew. Raises CannotResume where it `must` be there."""
    if resume == "no":
        return None
    try:
        found = state.load()
    except CannotResume:
        if resume == "must":
            raise
        return None
    reporter.say(f"goes on from the state of an unfinished training, {state.path}")
    return found


def describe(order: Order, panel: Panel, source: SampleMarket, known: Sentiment, best: "Candidate") -> dict[str, Any]:
    """The manifest's fields that don't depend on the other candidate or on the files."""
    return {
        "job": order.job.name,
        "version": order.version,
        "kind": best.kind,
        "schema_hash": vector.schema().hash,
        "data": {
            "source": source.source,
            "hash": panel.fingerprint(),
            "first": panel.sessions[0].isoformat(),
            "last": panel.sessions[-1].isoformat(),
            "sentiment": known.note,
        },
        "git_commit": release.current().commit,
        "metrics": {"preset": order.preset.name, **best.metrics()},
        "seeds": order.preset.seeds,
        "bootstrap": order.bootstrap,
        "trusted": False,  # the gate's to say, not the trainer's
        "horizons": order.job.horizons,
        "quantiles": order.job.quantiles,
        "channels": CHANNELS,
        "bar_channels": BAR_CHANNELS,
    }


def outcome(paths: Paths, written: Manifest) -> dict[str, Any]:
    """What standard output tells of the checkpoint."""
    return {
        "job": written.job,
        "version": written.version,
        "kind": written.kind,
        "onnx": str(paths.onnx),
        "pt": str(paths.pt),
        "manifest": str(paths.manifest),
        "metrics": written.metrics,
    }


if __name__ == "__main__":
    sys.exit(cli.run(train, sys.argv[1:]))
