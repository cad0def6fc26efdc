"""How large a training run is: `local` fits a deploy on two cores, `production` an RTX 3080 for a few hours."""

from dataclasses import dataclass
from typing import Final

YEAR: Final = 252  # sessions


@dataclass(frozen=True)
class Shape:
    """The transformer's size; `width` is a multiple of 2 * heads."""

    width: int
    layers: int
    heads: int
    dropout: float


@dataclass(frozen=True)
class Recipe:
    """How the transformer is fitted. Bounded by steps, never by a clock, so that a run can be repeated."""

    steps: int
    batch: int
    learning_rate: float
    evaluate_every: int
    patience: int  # evaluations without improvement before it stops
    weight_decay: float = 0.1
    drop_group: float = 0.15  # chance that a sentiment group is hidden from a sample
    drop_all: float = 0.25  # chance that all of them are, as when SenVec is down


@dataclass(frozen=True)
class Preset:
    """One size of training run; the spans are in sessions."""

    name: str
    shape: Shape
    recipe: Recipe
    folds: int
    seeds: tuple[int, ...]
    threads: int | None  # None: as many as torch likes; sums depend on it, so a run that is to repeat fixes it
    accelerated: bool  # uses a CUDA GPU where there is one
    train: int = 8 * YEAR
    validate: int = YEAR
    test: int = YEAR

    @property
    def sessions(self) -> int:
        """Sessions that all folds span together."""
        return self.train + self.validate + self.folds * self.test


LOCAL: Final = Preset(
    name="local",
    shape=Shape(width=32, layers=2, heads=2, dropout=0.0),
    recipe=Recipe(steps=120, batch=128, learning_rate=2e-3, evaluate_every=20, patience=3),
    folds=1,
    seeds=(1,),
    threads=1,  # steps this small gain little from a second, and lose much where others want it
    accelerated=False,
)

PRODUCTION: Final = Preset(
    name="production",
    shape=Shape(width=512, layers=8, heads=8, dropout=0.2),
    recipe=Recipe(steps=6000, batch=384, learning_rate=3e-4, evaluate_every=200, patience=10),
    folds=3,
    seeds=(1, 2, 3),
    threads=None,
    accelerated=True,
)

PRESETS: Final = {preset.name: preset for preset in (LOCAL, PRODUCTION)}
