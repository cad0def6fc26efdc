"""A training that was killed and resumed ends with the weights of one that never stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from caelum_common import checkpoint
from finvec.candidates import fit_transformer
from finvec.errors import CannotResume
from finvec.order import Order
from finvec.presets import PRODUCTION
from finvec.progress import Reporter
from finvec.ridge import PENALTIES
from finvec.state import StateFile
from finvec.train import train
from support.finvec_panel import JOB, TINY, sample_panel, task

# The production preset's path (folds × seeds, state after each evaluation) at a size that tests can afford.
SMALL = replace(
    PRODUCTION,
    shape=TINY.shape,
    recipe=TINY.recipe,
    folds=2,
    seeds=(1, 2),
    train=TINY.train,
    validate=TINY.validate,
    test=TINY.test,
)


class KilledError(Exception):
    """The machine went down."""


class KilledAt(StateFile):
    """Dies just after the state was saved for the `after`th time."""

    def __init__(self, path, fingerprint, after):
        super().__init__(path, fingerprint)
        self.left = after

    def save(self, state):
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise KilledError


@pytest.fixture(scope="module")
def tasks():
    return [task(sample_panel(), SMALL, fold) for fold in range(SMALL.folds)]


@pytest.fixture(scope="module")
def whole(tasks, tmp_path_factory):
    state = StateFile(tmp_path_factory.mktemp("whole") / "state.pt", "same")
    return fit_transformer(tasks, state, None, lambda *_: None)


# 3 evaluations and a closing save per run, 4 runs: in the first, between two, in the last.
@pytest.mark.parametrize("after", [1, 4, 7, 15])
def test_a_resumed_training_ends_like_one_that_never_stopped(tasks, whole, tmp_path, after):
    path = tmp_path / "state.pt"
    with pytest.raises(KilledError):
        fit_transformer(tasks, KilledAt(path, "same", after), None, lambda *_: None)
    torch.manual_seed(99)
    state = StateFile(path, "same")
    resumed = fit_transformer(tasks, state, state.load(), lambda *_: None)
    assert resumed.runs == whole.runs
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_every_seed_of_every_fold_is_tried_and_the_newest_fold_s_best_is_kept(whole):
    assert [(run["fold"], run["seed"]) for run in whole.runs] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert whole.trials == 4
    newest = min(run["validation_pinball"] for run in whole.runs if run["fold"] == 1)
    assert whole.validation == pytest.approx(newest, abs=1e-6)


def test_a_state_of_other_data_is_refused(tmp_path):
    StateFile(tmp_path / "state.pt", "one").save({"finished": []})
    with pytest.raises(CannotResume, match="is of other data, code or settings; start without --resume"):
        StateFile(tmp_path / "state.pt", "another").load()


def test_a_missing_or_torn_state_is_refused(tmp_path):
    state = StateFile(tmp_path / "state.pt", "one")
    with pytest.raises(CannotResume, match="there is no training state"):
        state.load()
    state.save({"finished": []})
    for kept in (0, 10, state.path.stat().st_size // 2):
        state.path.write_bytes(state.path.read_bytes()[:kept])
        with pytest.raises(CannotResume, match="can't be read"):
            state.load()


def test_the_whole_of_a_production_training_writes_one_checkpoint_and_forgets_its_state(tmp_path):
    order = Order(JOB, SMALL, tmp_path, "v2.0.0")
    with Reporter(JOB.name) as reporter:
        result = train(order, reporter)
    manifest = checkpoint.load(Path(result["onnx"]))
    assert manifest.seeds == (1, 2)
    assert manifest.trials == 4 + len(PENALTIES)
    assert not manifest.bootstrap
    assert len([*manifest.metrics["runs"], *_other(manifest)["runs"]]) == manifest.trials
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"llm1-tech-v2.0.0.{suffix}" for suffix in ("json", "onnx", "pt")
    ]


def _other(manifest):
    (kind,) = {"ridge", "transformer"} & set(manifest.baselines)
    return manifest.baselines[kind]
