"""The two candidates of a job, fitted fold by fold: the ridge in closed form, the transformer seed by seed."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from finvec import ridge
from finvec.evaluate import Figure
from finvec.fit import Run, Task
from finvec.model import QuantileModel, Transformer
from finvec.state import StateFile
from finvec.windows import hide_groups

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Candidate:
    """A fitted model of the newest fold, on the CPU: what it scored, and how many were tried to get it."""

    kind: str
    model: QuantileModel
    validation: float  # pinball loss, log return
    test: dict[str, Figure]
    masked: dict[str, Figure]
    trials: int
    runs: list[dict[str, Any]]

    def metrics(self) -> dict[str, Any]:
        """As the manifest tells it."""
        return {
            "validation_pinball": round(self.validation, 6),
            "test": {name: figure.document() for name, figure in self.test.items()},
            "test_all_masked": {name: figure.document() for name, figure in self.masked.items()},
            "parameters": self.model.size(),
            "runs": self.runs,
        }


def fit_ridge(task: Task, seed: int) -> Candidate:
    """The ridge whose penalty does best on the validation rows of this fold."""
    torch.manual_seed(seed)
    recipe = task.preset.recipe
    template = ridge.Ridge(task.job)
    template.fit_scales(task.sample())
    template.to(task.windows.device)
    seen = ((tokens, returns) for tokens, returns in task.windows.chunks(task.train))
    hidden = (
        (hide_groups(tokens, recipe.drop_group, recipe.drop_all), returns)
        for tokens, returns in task.windows.chunks(task.train)
    )
    parts = [ridge.design(template, batches) for batches in (seen, hidden)]
    rows, targets = (torch.cat(column) for column in zip(*parts, strict=True))
    tried = []
    for penalty in ridge.PENALTIES:
        model = copy.deepcopy(template)
        ridge.solve(model, rows, targets, penalty, task.job.quantiles)
        tried.append((task.judge(model), penalty, model))
    validation, penalty, model = min(tried, key=lambda each: each[0])
    runs = [{"penalty": penalty, "validation_pinball": round(loss, 6)} for loss, penalty, _ in tried]
    return _candidate("ridge", model, validation, task, runs)


def fit_transformer(
    tasks: Sequence[Task], state: StateFile, unfinished: dict[str, Any] | None, tell: Tell
) -> Candidate:
    """Every seed on every fold, oldest fold first; the newest fold's best seed by validation is the candidate.

    `state` is replaced at each evaluation, and removed by the caller once the checkpoint is written; `unfinished` is
    what was loaded from it, to go on from.
    """
    progress = unfinished or {"finished": [], "kept": None, "kept_loss": math.inf, "run": None}
    seeds = tasks[0].preset.seeds
    plan = [(fold, seed) for fold in range(len(tasks)) for seed in seeds]
    for number, (fold, seed) in enumerate(plan[len(progress["finished"]) :], start=len(progress["finished"])):
        task = tasks[fold]
        run = Run(task, seed)
        if progress["run"] is not None:
            run.restore(progress["run"])
        loss = run.fit(
            _within(tell, number, len(plan), f"fold {fold + 1}/{len(tasks)} seed {seed} "),
            lambda current: state.save({**progress, "run": current}),
        )
        progress["finished"].append(_record(task, run, fold, loss))
        if fold == len(tasks) - 1 and loss < progress["kept_loss"]:
            progress["kept"], progress["kept_loss"] = copy.deepcopy(run.model.state_dict()), loss
        progress["run"] = None
        state.save(progress)
    last = tasks[-1]
    model = Transformer(last.preset.shape, last.job).to(last.windows.device)
    model.load_state_dict(progress["kept"])
    return _candidate("transformer", model, progress["kept_loss"], last, progress["finished"])


def _within(tell: Tell, number: int, runs: int, prefix: str) -> Tell:
    """`tell` for run `number` of `runs`."""
    shown = prefix if runs > 1 else ""
    return lambda line, share: tell(shown + line, (number + share) / runs)


def _record(task: Task, run: Run, fold: int, loss: float) -> dict[str, Any]:
    """What one run came to, plain enough for a state file and a manifest."""
    test = {name: figure.document() for name, figure in task.report(run.model).items()}
    return {"fold": fold, "seed": run.seed, "steps": run.step, "validation_pinball": round(loss, 6), "test": test}


def _candidate(kind: str, model: QuantileModel, validation: float, task: Task, runs: list[dict[str, Any]]) -> Candidate:
    test, masked = task.report(model), task.report(model, masked=True)
    return Candidate(kind, model.cpu().eval(), validation, test, masked, len(runs), runs)
