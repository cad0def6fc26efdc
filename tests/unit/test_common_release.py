"""A process must report the release it runs, also when its slot has moved on."""

import json
import sys

import pytest

from caelum_common import release


@pytest.fixture(autouse=True)
def _forget():
    release.current.cache_clear()
    yield
    release.current.cache_clear()


def test_outside_of_a_release_the_version_is_dev():
    assert release.current() == ("dev", None)


def test_the_manifest_behind_the_slot_counts_and_is_read_once(monkeypatch, tmp_path):
    for version in ("v1.0.0", "v1.1.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "manifest.json").write_text(json.dumps({"version": version, "commit": "abc"}))
    slot = tmp_path / "slot"
    slot.symlink_to("v1.0.0")
    monkeypatch.setattr(sys, "prefix", str(slot))
    assert release.current() == ("v1.0.0", "abc")
    slot.unlink()
    slot.symlink_to("v1.1.0")
    assert release.current() == ("v1.0.0", "abc")
