"""What somebody changed by hand in an installed release is named, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.tiny_release import Tiny, tiny_repository


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    repository = tiny_repository(tmp_path_factory.mktemp("made"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(repository.index))
        for version in ("v1.0.0", "v1.1.0"):
            repository.run("built", services=[repository.service(version)])
            repository.run("installed", services=[repository.service(version)])
    return repository


@pytest.fixture
def tiny(made: Tiny, tmp_path: Path) -> Tiny:
    """A copy whose releases can be written to, as root can everywhere; hard links become files of their own."""
    repository = Tiny(tmp_path / "copy")
    shutil.copytree(made.base, repository.base, symlinks=True)
    subprocess.run(["chmod", "-R", "u+w", repository.prefix], check=True)
    return repository


def site(tiny: Tiny) -> Path:
    return next(tiny.release().glob("lib/python3*/site-packages"))


def verdict(tiny: Tiny, **given: Any) -> dict[str, Any]:
    """The verdict on v1.0.0; v1.1.0, which nobody touched, is always as it was."""
    result = tiny.run("verified", **given)
    assert not result["changed"]
    newer, older = result["releases"]
    assert (newer["version"], older["version"]) == ("v1.1.0", "v1.0.0")
    assert (newer["edited"], newer["missing"], newer["extra"], newer["broken"]) == ((), (), (), "")
    assert all("v1.0.0" in line for line in result["findings"])
    return dict(older) | {"findings": result["findings"]}


@pytest.mark.parametrize("with_store", [False, True])
def test_a_release_as_it_was_installed_is_found_in_order_and_every_module_was_read(
    tiny: Tiny, with_store: bool
) -> None:
    found = verdict(tiny, **({"store": tiny.store} if with_store else {}))
    assert found["findings"] == []
    assert found["files"] > len(list(site(tiny).rglob("*.py")))


def test_one_that_ran_is_still_in_order(tiny: Tiny) -> None:
    subprocess.run([tiny.release() / "bin/python", "-c", "import tiny_demo, tiny_common, leftpad"], check=True)
    assert verdict(tiny)["findings"] == []


def test_an_edited_file_is_named_with_the_remedy(tiny: Tiny) -> None:
    (site(tiny) / "tiny_demo/__init__.py").write_text("NAME = 'edited'\n")
    name = str((site(tiny) / "tiny_demo/__init__.py").relative_to(tiny.release()))
    assert verdict(tiny)["findings"] == [
        f"release v1.0.0 of demo is not as it was installed: {name} was edited; move {tiny.release()} away and "
        "deploy v1.0.0 again"
    ]


HARMS: dict[str, tuple[Callable[[Tiny], object], str, str]] = {
    "gone": (lambda tiny: (site(tiny) / "leftpad.py").unlink(), "missing", "leftpad.py"),
    "added module": (lambda tiny: (site(tiny) / "tiny_demo/new.py").write_text(""), "extra", "tiny_demo/new.py"),
    "added hook": (lambda tiny: (site(tiny) / "evil.pth").write_text("import os"), "extra", "evil.pth"),
    "bytecode alone": (lambda tiny: (site(tiny) / "evil.pyc").write_bytes(b""), "extra", "evil.pyc"),
    "requirements": (
        lambda tiny: (tiny.release() / "requirements.txt").write_text(
            (tiny.release() / "requirements.txt").read_text() + "\n"
        ),
        "edited",
        "requirements.txt",
    ),
    "no python": (lambda tiny: (tiny.release() / "bin/python").unlink(), "missing", "bin/python"),
}


@pytest.mark.parametrize("case", HARMS)
def test_each_kind_of_change_is_found(tiny: Tiny, case: str) -> None:
    harm, kind, name = HARMS[case]
    harm(tiny)
    found = verdict(tiny)
    assert [one for one in found[kind] if one.endswith(name)], found
    assert len(found["findings"]) == 1


def test_a_distribution_that_was_removed_or_added_whole_is_found(tiny: Tiny) -> None:
    (info,) = site(tiny).glob("leftpad-*.dist-info")
    shutil.copytree(info, info.with_name("other-1.0.dist-info"))
    shutil.rmtree(info)
    found = verdict(tiny)
    assert "leftpad 1.3" in found["missing"]
    assert any(name.endswith("other-1.0.dist-info/RECORD") for name in found["extra"])


def test_a_record_edited_to_match_its_file_misleads_only_where_the_store_is_not_asked(tiny: Tiny) -> None:
    data = b"NAME = 'stolen'\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    own = site(tiny) / "tiny_demo/__init__.py"
    own.write_bytes(data)
    (record,) = site(tiny).glob("tiny_demo-*.dist-info/RECORD")
    lines = [line for line in record.read_text().splitlines() if not line.startswith("tiny_demo/__init__.py")]
    record.write_text("".join(f"{line}\n" for line in [*lines, f"tiny_demo/__init__.py,sha256={digest},9"]))
    assert verdict(tiny)["edited"] == ()
    assert [Path(name).name for name in verdict(tiny, store=tiny.store)["edited"]] == ["__init__.py"]


def test_a_manifest_that_is_not_the_stores_is_an_edit_and_a_broken_one_is_told(tiny: Tiny) -> None:
    path = tiny.release() / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"dirty": false', b'"dirty": true '))
    assert verdict(tiny)["findings"] == []
    assert verdict(tiny, store=tiny.store)["edited"] == ("manifest.json",)
    path.write_text("{")
    assert "manifest.json is corrupted" in verdict(tiny)["findings"][0]


def test_only_the_releases_named_are_looked_at_and_one_that_is_not_there_is_a_finding(tiny: Tiny) -> None:
    (site(tiny) / "leftpad.py").unlink()
    named = tiny.run("verified", services=[{"name": "demo", "version": "v1.1.0"}])
    assert (len(named["releases"]), named["findings"]) == (1, [])
    gone = tiny.run("verified", services=[{"name": "demo", "version": "v3.0.0"}])
    assert f"it is not complete under {tiny.release('v3.0.0')}" in gone["findings"][0]


def test_many_files_are_counted_and_some_named(tiny: Tiny) -> None:
    for number in range(6):
        (site(tiny) / f"new{number}.py").write_text("")
    (line,) = verdict(tiny)["findings"]
    assert "6 files were added: " in line
    assert "new2.py and 3 more; move" in line
