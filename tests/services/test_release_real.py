"""A service of this repository, built from its own lock with the real index, installed and started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny_release import ROOT, Tiny, commit_all, python_says

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


def checkout(tmp_path: Path) -> Tiny:
    """A clone of this checkout as it is now, with SenVec alone to build; it shares the wheels downloaded before."""
    tiny = Tiny(tmp_path)
    plain = shutil.ignore_patterns("__pycache__", "*.egg-info")
    folders = ("inventory", "library", "locks", "module_utils", "playbooks", "plugins", "roles")
    for path in (*folders, "services/common", "services/senvec"):
        shutil.copytree(ROOT / path, tiny.root / path, ignore=plain)
    shutil.copy(ROOT / "ansible.cfg", tiny.root)
    (ROOT / ".cache/wheels").mkdir(parents=True, exist_ok=True)
    (tiny.root / ".cache").mkdir()
    (tiny.root / ".cache/wheels").symlink_to(ROOT / ".cache/wheels")
    tiny.write(".gitignore", ".cache\n__pycache__/\n")
    tiny.git("init", "-q", "-b", "main")
    return tiny


def build(tiny: Tiny, *variables: str) -> tuple[int, str]:
    """`ansible-playbook playbooks/build.yml` in that clone: its exit status, and what it said."""
    program = Path(sys.executable).with_name("ansible-playbook")
    given = [f"caelum_prefix={tiny.prefix}", *variables]
    run = subprocess.run(
        [program, "playbooks/build.yml", *(part for one in given for part in ("-e", one))],
        cwd=tiny.root, env={**os.environ, "ANSIBLE_CONFIG": str(tiny.root / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        check=False, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def test_the_build_playbook_makes_one_component_from_its_tag_and_refuses_what_it_cannot_in_one_line(
    tmp_path: Path,
) -> None:
    tiny = checkout(tmp_path)
    wanted = commit_all(tiny, "as it is")
    tiny.git("tag", "news/v1.2.0")
    tiny.write("services/senvec/src/senvec/later.py", "")
    commit_all(tiny, "later")
    status, said = build(tiny, "version=v1.2.0", "component=news")
    assert status == 0, said
    store = tiny.prefix / "share/releases"
    assert sorted(path.name for path in store.iterdir() if not path.name.startswith(".")) == ["postgresql", "senvec"]
    described = json.loads((store / "senvec/v1.2.0/manifest.json").read_bytes())
    assert (described["source"], described["commit"], described["dirty"]) == ("news/v1.2.0", wanted, False)
    assert not [name for name in described["inputs"] if name.endswith("later.py")]
    status, said = build(tiny, "version=v1.2.0", "component=news")
    assert (status, "changed=0" in said) == (0, True), said
    for variables, line in (
        (["version=v1.2.0", "component=newz"], "there is no component 'newz'; known: "),
        (["version=v1.2.0", "compnent=news"], "there is no variable compnent; did you mean component?"),
        (["component=news"], "no version given; name one"),
        (["version=v1.2.0", "service=senvec"], "release v1.2.0 of senvec is in the store with other content"),
        (
            ["version=v9.0.0", "component=news", "caelum_environment=test"],
            "release v9.0.0 of senvec has no git tag v9.0.0",
        ),
    ):
        status, said = build(tiny, *variables)
        assert status != 0, variables
        assert line in said.strip().splitlines()[-1]
    assert "known: v1.2.0; tag the commit" in said
