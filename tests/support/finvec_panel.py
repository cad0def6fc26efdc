"""A small but whole training problem on the sample's real bars."""

from dataclasses import replace
from functools import cache

import torch

from caelum_common import jobs
from caelum_common.market import market
from finvec import protocol
from finvec.data import Panel, build
from finvec.fit import Task
from finvec.presets import LOCAL, Preset, Recipe, Shape
from finvec.sentiment import absent
from finvec.windows import Windows

JOB = jobs.resolve("llm1")

TINY: Preset = replace(
    LOCAL,
    name="tiny",
    shape=Shape(width=8, layers=2, heads=2, dropout=0.1),
    recipe=Recipe(steps=6, batch=16, learning_rate=1e-3, evaluate_every=2, patience=9),
    train=160,
    validate=60,
    test=60,
)


@cache
def sample_panel(sessions: int = 2700) -> Panel:
    """The newest bars of the sample's symbols, without sentiment."""
    source = market("sample")
    return build({symbol: source.bars(symbol, count=sessions) for symbol in JOB.universe}, absent("a test"), JOB)


def task(panel: Panel, preset: Preset, fold: int = -1) -> Task:
    """One fold of `preset` over `panel`, on the CPU with one thread."""
    torch.set_num_threads(1)
    span = protocol.walk_forward(len(panel.sessions), preset, max(JOB.horizons))[fold]
    rows = [protocol.rows_in(panel, part) for part in (span.train, span.validate, span.test)]
    return Task(JOB, preset, panel, Windows(panel, torch.device("cpu")), *rows)
