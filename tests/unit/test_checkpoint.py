"""A checkpoint that is torn, tampered with or of another schema is refused with one line that says why."""

import json

import pytest

from caelum_common import checkpoint
from caelum_common.checkpoint import BadCheckpoint
from support.checkpoints import write_checkpoint


def _change(path, **fields):
    manifest = path.with_suffix(".json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **fields}))


def _refusal(path):
    with pytest.raises(BadCheckpoint) as caught:
        checkpoint.load(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path.with_suffix("")) in line
    return line


def test_an_untouched_checkpoint_loads_from_both_of_its_files(tmp_path):
    onnx = write_checkpoint(tmp_path, "v1.2.0")
    assert checkpoint.load(onnx).version == "v1.2.0"
    assert checkpoint.load(onnx.with_suffix(".pt")) == checkpoint.load(onnx)


@pytest.mark.parametrize("suffix", [".onnx", ".pt"])
def test_one_changed_byte_is_refused(tmp_path, suffix):
    path = write_checkpoint(tmp_path).with_suffix(suffix)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "is not what its manifest describes: sha256" in _refusal(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = write_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "copy it again" in _refusal(path)


def test_a_truncated_manifest_is_refused(tmp_path):
    path = write_checkpoint(tmp_path)
    manifest = path.with_suffix(".json")
    manifest.write_bytes(manifest.read_bytes()[:-10])
    assert "is not a manifest" in _refusal(path)


def test_a_manifest_without_a_field_names_it(tmp_path):
    path = write_checkpoint(tmp_path)
    fields = json.loads(path.with_suffix(".json").read_text())
    del fields["quantiles"]
    path.with_suffix(".json").write_text(json.dumps(fields))
    assert "quantiles: Field required" in _refusal(path)


def test_a_model_without_manifest_and_a_manifest_without_model_are_refused(tmp_path):
    path = write_checkpoint(tmp_path)
    kept = path.read_bytes()
    path.unlink()
    assert "cannot be read (No such file or directory)" in _refusal(path)
    path.write_bytes(kept)
    path.with_suffix(".json").unlink()
    assert "a checkpoint needs its manifest" in _refusal(path)


def test_another_sentiment_schema_is_refused(tmp_path):
    path = write_checkpoint(tmp_path, schema_hash="ab" * 32)
    assert "was trained for sentiment schema abababababab…" in _refusal(path)


@pytest.mark.parametrize("changes", [{"channels": 151}, {"bar_channels": ("close",)}])
def test_other_channels_are_refused(tmp_path, changes):
    assert "train a new version with it" in _refusal(write_checkpoint(tmp_path, **changes))


def test_a_manifest_of_a_newer_release_with_more_fields_still_loads(tmp_path):
    path = write_checkpoint(tmp_path)
    _change(path, invented_later=1)
    assert checkpoint.load(path).job == "llm1-tech"
