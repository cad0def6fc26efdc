"""What is written is what was trained, whole or not at all, and never over another version."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from caelum_common import checkpoint, vector
from caelum_common.checkpoint import BadCheckpoint
from caelum_common.windows import BAR_CHANNELS, CHANNELS
from finvec import export
from finvec.candidates import fit_ridge
from finvec.errors import ExportFailed, VersionTaken
from finvec.files import write_atomic
from finvec.fit import Run
from finvec.versions import next_version
from support.finvec_panel import JOB, TINY, sample_panel, task


def _manifest(kind, version="v1.0.0"):
    return {
        "job": JOB.name,
        "version": version,
        "kind": kind,
        "schema_hash": vector.schema().hash,
        "data": {"source": "sample", "hash": "0" * 64, "first": "2000-03-01", "last": "2013-03-01"},
        "git_commit": None,
        "metrics": {},
        "seeds": (1,),
        "baselines": {},
        "trials": 1,
        "bootstrap": True,
        "trusted": False,
        "horizons": JOB.horizons,
        "quantiles": JOB.quantiles,
        "channels": CHANNELS,
        "bar_channels": BAR_CHANNELS,
    }


@pytest.fixture(scope="module")
def problem():
    return task(sample_panel(), TINY)


@pytest.fixture(scope="module")
def samples(problem):
    return problem.windows.at(problem.test[-8:])[0].numpy()


@pytest.fixture(scope="module", params=["ridge", "transformer"])
def written(request, problem, samples, tmp_path_factory):
    """A trained model, the paths it was written to and its kind."""
    if request.param == "ridge":
        model = fit_ridge(problem, seed=1).model
    else:
        run = Run(problem, seed=1)
        run.fit(lambda *_: None, lambda _: None)
        model = run.model
    folder = tmp_path_factory.mktemp(request.param)
    paths, _ = export.write(model, _manifest(request.param), folder, samples)
    return model, paths, request.param


@pytest.mark.parametrize("count", [1, 2, 8])
def test_onnx_answers_as_torch_does_for_any_number_of_windows(written, samples, count):
    model, paths, _ = written
    session = onnxruntime.InferenceSession(str(paths.onnx), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == [checkpoint.INPUT]
    assert session.get_inputs()[0].shape[1:] == [64, CHANNELS]
    (found,) = session.run([checkpoint.OUTPUT], {checkpoint.INPUT: samples[:count]})
    with torch.no_grad():
        expected = model(torch.from_numpy(samples[:count])).numpy()
    assert found.shape == (count, 3, 5)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4
    assert (np.diff(found, axis=-1) >= 0).all()


def test_the_weights_load_without_running_code_and_answer_the_same(written, samples):
    model, paths, kind = written
    assert torch.load(paths.pt, weights_only=True)["kind"] == kind
    loaded = export.load(paths.pt)
    with torch.no_grad():
        assert torch.equal(loaded(torch.from_numpy(samples)), model(torch.from_numpy(samples)))


def test_the_manifest_vouches_for_both_files_and_nothing_else_is_left(written):
    _, paths, kind = written
    for path in (paths.onnx, paths.pt):
        assert checkpoint.load(path).kind == kind
    assert sorted(path.name for path in paths.pt.parent.iterdir()) == [
        f"llm1-tech-v1.0.0.{suffix}" for suffix in ("json", "onnx", "pt")
    ]


def test_a_version_is_never_written_over(written, samples):
    model, paths, kind = written
    before = paths.onnx.read_bytes(), paths.manifest.read_bytes()
    with pytest.raises(VersionTaken, match=r"v1\.0\.0\.json is there already .* --version"):
        export.write(model, _manifest(kind), paths.pt.parent, samples)
    assert (paths.onnx.read_bytes(), paths.manifest.read_bytes()) == before


def test_weights_of_something_else_are_refused(written, tmp_path):
    _, paths, _ = written
    torch.save({"job": "llm1-tech", "kind": "transformer", "shape": {"depth": 3}, "state": {}}, tmp_path / "m.pt")
    fields = json.loads(paths.manifest.read_text())
    fields["files"]["pt"]["sha256"] = checkpoint.sha256_of(tmp_path / "m.pt")
    (tmp_path / "m.json").write_text(json.dumps(fields))
    with pytest.raises(BadCheckpoint, match=r"m\.pt holds no model of this release"):
        export.load(tmp_path / "m.pt")


def test_a_graph_that_differs_from_the_model_is_not_served(written, samples):
    model, paths, _ = written
    other = export.load(paths.pt)
    other.root_horizons *= 2  # type: ignore[operator,assignment] # a registered buffer
    with pytest.raises(ExportFailed, match="ONNX and torch differ by"):
        export.check_parity(other, paths.onnx, samples)
    export.check_parity(model, paths.onnx, samples)


def test_a_model_that_fails_parity_leaves_no_file(problem, samples, tmp_path):
    model = fit_ridge(problem, seed=1).model
    with pytest.raises(ExportFailed):
        export.write(model, _manifest("ridge"), tmp_path, np.where(samples == 0, np.nan, samples))
    assert list(tmp_path.iterdir()) == []


def test_versions_go_up_by_number_and_start_at_1(tmp_path):
    assert next_version(tmp_path / "not-there", "llm1-tech") == "v1.0.0"
    for name in ("llm1-tech-v1.9.0", "llm1-tech-v1.10.3", "llm1-tech-v1.x", "llm3-yieldmax-v7.0.0"):
        (tmp_path / f"{name}.json").touch()
    assert next_version(tmp_path, "llm1-tech") == "v1.11.0"


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "status.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type] # what is tested
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]
    assert path.stat().st_mode & 0o777 == 0o644
