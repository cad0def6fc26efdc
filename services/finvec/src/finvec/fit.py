"""Fitting the transformer: one run of one seed on one fold."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caelum_common.jobs import Job
from finvec import evaluate
from finvec.data import Ints, Panel
from finvec.model import Transformer, pinball
from finvec.presets import Preset, Recipe
from finvec.windows import Windows, hide_groups, predict


@dataclass(frozen=True)
class Task:
    """One fold's rows of the panel: to learn from, to select by, and to report on (`test` decides nothing)."""

    job: Job
    preset: Preset
    panel: Panel
    windows: Windows
    train: Ints
    validate: Ints
    test: Ints

    def sample(self, most: int = 2000) -> Tensor:
        """Windows spread evenly over the train slice, enough to know the channels' scales by; on the CPU."""
        stride = max(1, len(self.train) // most)
        return self.windows.at(self.train[::stride])[0].cpu()

    def judge(self, model: torch.nn.Module) -> float:
        """Mean pinball loss on the validation rows, in log return."""
        quantiles = predict(model, self.windows, self.validate)
        return float(evaluate.pinball(self.panel.targets[self.validate], quantiles, self.job.quantiles).mean())

    def report(self, model: torch.nn.Module, *, masked: bool = False) -> dict[str, evaluate.Figure]:
        """The figures of the test rows; `masked` as when SenVec is down."""
        return evaluate.figures(self.panel, self.test, predict(model, self.windows, self.test, masked), self.job)


class Run:
    """A transformer in training. `state` and `restore` carry all of it: weights, optimiser, RNG, cursor, best."""

    def __init__(self, task: Task, seed: int) -> None:
        torch.manual_seed(seed)
        self.task = task
        self.seed = seed
        device = task.windows.device
        self.model = Transformer(task.preset.shape, task.job)
        self.model.fit_scales(task.sample())
        self.model.to(device)
        self.optimiser = _optimiser(self.model, task.preset.recipe, fused=device.type == "cuda")
        self.levels = torch.tensor(task.job.quantiles, device=device)
        self.step = 0  # the data cursor too: the batch of a step follows from it and the seed
        self.stale = 0
        self.best = math.inf
        self.best_model = copy.deepcopy(self.model.state_dict())

    def fit(self, tell: Callable[[str, float], None], save: Callable[[dict[str, Any]], None]) -> float:
        """Trains until the steps are done or validation stops improving; leaves the best weights in `model`.

        Returns their validation pinball loss. `save` is called after each evaluation.
        """
        recipe = self.task.preset.recipe
        while self.step < recipe.steps and self.stale < recipe.patience:
            self._learn()
            self.step += 1
            if self.step % recipe.evaluate_every == 0 or self.step == recipe.steps:
                self._evaluate()
                share = self.step / recipe.steps
                tell(f"step {self.step}/{recipe.steps} validation pinball {self.best:.5f}", share)
                save(self.state())
        self.model.load_state_dict(self.best_model)
        return self.best

    def _learn(self) -> None:
        """One step of AdamW on one batch."""
        recipe = self.task.preset.recipe
        self.model.train()
        tokens, targets = self.task.windows.at(self._batch())
        tokens = hide_groups(tokens, recipe.drop_group, recipe.drop_all)
        unit = self.model.unit(tokens).squeeze(-1)
        with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=tokens.device.type == "cuda"):
            quantiles = self.model.standard(self.model.normalise(tokens))
        loss = pinball(quantiles, targets / unit, self.levels)
        for group in self.optimiser.param_groups:
            group["lr"] = _learning_rate(self.step, recipe)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()

    def _batch(self) -> Ints:
        """Rows of this step: each epoch is a permutation of its own."""
        rows, batch = self.task.train, min(self.task.preset.recipe.batch, len(self.task.train))
        epoch, place = divmod(self.step, len(rows) // batch)
        chance = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(rows), generator=chance, device="cpu")
        batch_rows: Ints = rows[order[place * batch : (place + 1) * batch].numpy()]
        return batch_rows

    def _evaluate(self) -> None:
        """Keeps the weights if they are the best so far."""
        loss = self.task.judge(self.model)
        if loss < self.best:
            self.best, self.stale = loss, 0
            self.best_model = copy.deepcopy(self.model.state_dict())
        else:
            self.stale += 1

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as tensors and plain values."""
        return {
            "seed": self.seed,
            "step": self.step,
            "stale": self.stale,
            "best": self.best,
            "best_model": self.best_model,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.task.windows.device.type == "cuda" else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.step, self.stale, self.best = state["step"], state["stale"], state["best"]
        self.best_model = state["best_model"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"])


def _optimiser(model: Transformer, recipe: Recipe, *, fused: bool) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves gains and biases alone."""
    matrices = [each for each in model.parameters() if each.dim() >= 2]
    others = [each for each in model.parameters() if each.dim() < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=fused)


def _learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up over the first twentieth, then a cosine to a tenth of the rate."""
    warm = max(1, recipe.steps // 20)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, recipe.steps - warm)
    return recipe.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))
