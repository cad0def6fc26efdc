"""A service of this repository, built from its own lock with the real index, installed and started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.tiny_release import ROOT, Tiny, python_says

pytestmark = pytest.mark.services


def test_senvec_is_built_from_its_lock_installed_and_imports_all_that_it_needs(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    for path in ("services/common", "services/senvec"):
        shutil.copytree(ROOT / path, tiny.root / path)
    shutil.copytree(ROOT / "locks", tiny.root / "locks")
    packages = ["services/common", "services/senvec"]
    service = tiny.service(name="senvec", lock="locks/senvec.txt", packages=packages)
    tiny.run("built", services=[service])
    tiny.run("installed", services=[service])
    release = tiny.prefix / "opt/caelum/senvec/releases/v1.0.0"
    code = "import senvec.server; from caelum_common.release import current; print(current().version)"
    assert python_says(release, code) == "v1.0.0"
    assert not tiny.run("built", services=[service])["changed"]
    assert list((tiny.store / "senvec/v1.0.0/wheels").glob("uv-*.whl")), "the controller's lock brings uv along"
