"""FinColl serves only checkpoints that are what their manifest says, and swaps them all or none."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caelum_common.checkpoint import BadCheckpoint
from caelum_common.jobs import UnknownJob
from caelum_common.windows import CHANNELS, TOKENS
from fincoll.predictor import ModelFault, Predictor
from fincoll.registry import ModelMissing, ModelRegistry
from support.checkpoints import JOB, write_checkpoint


def tokens(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, TOKENS, CHANNELS)).astype(np.float32)


def test_a_batch_gives_what_each_window_gives_alone(tmp_path: Path) -> None:
    predictor = Predictor.load(write_checkpoint(tmp_path))
    batch = tokens(7)
    answers = predictor.predict(batch)
    assert answers.shape == (7, 3, 5)
    assert answers.dtype == np.float32
    assert (np.diff(answers, axis=2) >= 0).all()
    for row in range(7):
        np.testing.assert_allclose(predictor.predict(batch[row : row + 1])[0], answers[row], atol=1e-6)


def test_numbers_that_are_not_finite_never_leave_the_predictor(tmp_path: Path) -> None:
    predictor = Predictor.load(write_checkpoint(tmp_path))
    spoiled = tokens(1)
    spoiled[0, 0, 0] = np.nan
    with pytest.raises(ModelFault, match=r"llm1-tech v1\.0\.0 answered with numbers that are not finite"):
        predictor.predict(spoiled)


def test_a_model_that_only_answers_nan_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="loads but does not answer"):
        Predictor.load(write_checkpoint(tmp_path, shift=float("nan")))


def test_a_wrong_input_is_a_fault_of_one_line(tmp_path: Path) -> None:
    predictor = Predictor.load(write_checkpoint(tmp_path))
    with pytest.raises(ModelFault, match="failed") as caught:
        predictor.predict(np.zeros((1, TOKENS, 3), dtype=np.float32))
    assert "\n" not in str(caught.value)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def tampered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


def without_manifest(path: Path) -> None:
    path.with_suffix(".json").unlink()


def not_onnx_though_vouched_for(path: Path) -> None:
    import hashlib

    path.write_bytes(b"not a graph")
    manifest = path.with_suffix(".json")
    content = json.loads(manifest.read_text())
    content["files"]["onnx"]["sha256"] = hashlib.sha256(b"not a graph").hexdigest()
    manifest.write_text(json.dumps(content))


@pytest.mark.parametrize("spoil", [truncated, tampered, gone, without_manifest, not_onnx_though_vouched_for])
def test_a_spoiled_checkpoint_leaves_the_old_model_serving(tmp_path: Path, spoil: object) -> None:
    registry = ModelRegistry({JOB.name: {"champion": write_checkpoint(tmp_path, "v1.0.0")}})
    old = registry.get(JOB.name)
    bad = write_checkpoint(tmp_path, "v1.1.0", shift=1.0)
    spoil(bad)  # type: ignore[operator]
    with pytest.raises(BadCheckpoint, match=r"v1\.1\.0") as caught:
        registry.reload({JOB.name: {"champion": bad}}, "champion")
    assert "\n" not in str(caught.value)
    assert registry.get(JOB.name) is old
    assert old.predict(tokens(1)).shape == (1, 3, 5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_hash": "f" * 64}, "trained for sentiment schema ffff"),
        ({"channels": 3}, "reads 3 channels"),
        ({"job": "llm3-yieldmax"}, "a model of job llm3-yieldmax, not of llm1-tech"),
        ({"horizons": (1,)}, r"expected \(1, 1, 5\)"),
        ({"quantiles": (0.1, 0.25, 0.5, 0.75, 0.9)}, r"job llm1-tech asks for"),
    ],
)
def test_a_model_for_another_question_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadCheckpoint, match=reason):
        ModelRegistry({JOB.name: {"champion": write_checkpoint(tmp_path, **changes)}})


def test_a_reload_points_the_alias_to_the_new_version_and_says_so(tmp_path: Path) -> None:
    first, second = (
        write_checkpoint(tmp_path, version, shift=shift) for version, shift in (("v1.0.0", 0), ("v1.1.0", 1))
    )
    registry = ModelRegistry({JOB.short: {"champion": first}})
    (swap,) = registry.reload({JOB.name: {"champion": second}}, "champion", JOB.short)
    assert (swap.job, swap.alias, swap.before, swap.after) == (JOB.name, "champion", "v1.0.0", "v1.1.0")
    assert registry.get(JOB.short).manifest.version == "v1.1.0"


def test_other_aliases_stay_as_they_are(tmp_path: Path) -> None:
    first, second = (write_checkpoint(tmp_path, version) for version in ("v1.0.0", "v1.1.0"))
    registry = ModelRegistry({JOB.name: {"champion": first, "previous": first}})
    registry.reload({JOB.name: {"champion": second, "previous": second}}, "champion")
    assert registry.get(JOB.name, "previous").manifest.version == "v1.0.0"


def test_an_alias_or_job_that_is_not_configured_is_named(tmp_path: Path) -> None:
    listing = {JOB.name: {"champion": write_checkpoint(tmp_path)}}
    registry = ModelRegistry(listing)
    with pytest.raises(ModelMissing, match="no challenger for job llm1-tech"):
        registry.get(JOB.name, "challenger")
    with pytest.raises(ModelMissing, match="no challenger for job"):
        registry.reload(listing, "challenger")
    with pytest.raises(UnknownJob, match="llm9"):
        registry.reload(listing, "champion", "llm9")


@pytest.mark.parametrize("listing", [{}, {JOB.name: {}}, {JOB.name: {"previous": Path("x.onnx")}}])
def test_without_a_champion_there_is_no_registry(listing: dict[str, dict[str, Path]]) -> None:
    with pytest.raises(ModelMissing, match="no champion for job llm1-tech; train one with `make train JOB=llm1-tech`"):
        ModelRegistry(listing)


def test_readers_never_see_half_a_reload(tmp_path: Path) -> None:
    paths = [write_checkpoint(tmp_path, f"v1.{minor}.0", shift=minor) for minor in range(2)]
    registry = ModelRegistry({JOB.name: {"champion": paths[0]}})
    window = tokens(1)
    expected = {f"v1.{minor}.0": Predictor.load(path).predict(window) for minor, path in enumerate(paths)}
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            model = registry.get(JOB.name)
            np.testing.assert_array_equal(model.predict(window), expected[model.manifest.version])
            seen.add(model.manifest.version)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        registry.reload({JOB.name: {"champion": paths[turn % 2]}}, "champion")
    done.set()
    reader.join()
    assert seen == set(expected)
