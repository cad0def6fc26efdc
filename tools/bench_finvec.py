"""How many windows per second FinVec's local preset learns from, evaluations included, as in a real training."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from caelum_common import jobs
from caelum_common.market import market
from finvec import sentiment, train
from finvec.data import build
from finvec.order import Order
from finvec.presets import LOCAL

STEPS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one JSON object: windows_per_s, steps, batch, threads, seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args(arguments).steps
    recipe = replace(LOCAL.recipe, steps=steps, patience=steps)
    preset = replace(LOCAL, recipe=recipe)
    job = jobs.JOBS[0]
    histories = train.read_bars(market("sample"), job, preset)
    panel = build(histories, sentiment.absent("a benchmark asks nobody"), job)
    task = train.make_tasks(Order(job, preset, Path(), "v0.0.0"), panel)[-1]

    from finvec.fit import Run  # torch takes seconds to load

    run = Run(task, seed=1)
    begin = time.perf_counter()
    run.fit(lambda *_: None, lambda _: None)
    took = time.perf_counter() - begin
    figures = {"steps": run.step, "batch": recipe.batch, "threads": preset.threads, "seconds": round(took, 2)}
    print(json.dumps({"windows_per_s": round(run.step * recipe.batch / took, 1), **figures}))


if __name__ == "__main__":
    main()
