"""Installs: only what was signed, whole or not at all, never what a slot needs thrown away."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.release import manifest, signing
from ansible.module_utils.caelum.release.installed import refuse_without_space
from ansible.module_utils.caelum.release.target import needed_glibc
from ansible.module_utils.caelum.slots import switch

from support.tiny_release import Tiny, lock_line, python_says, tiny_repository, write_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    repository = tiny_repository(tmp_path_factory.mktemp("built"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(repository.index))
        repository.run("built")
    return repository


@pytest.fixture
def tiny(built: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    repository = Tiny(tmp_path / "copy")
    shutil.copytree(built.base, repository.base)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.index))
    return repository


def resign(tiny: Tiny, **changes: str) -> None:
    """Give the stored release another manifest with a right signature."""
    folder = tiny.store / "demo/v1.0.0"
    stored = manifest.read(folder)
    assert stored
    data = dataclasses.replace(stored, **changes).to_bytes()
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.json.sig").write_bytes(signing.sign(tiny.key, data))


def test_an_installed_release_runs_knows_its_manifest_and_is_read_only(tiny: Tiny) -> None:
    assert tiny.run("installed")["changed"]
    release = tiny.release()
    said = python_says(release, "import tiny_demo, tiny_common, leftpad; print(tiny_demo.NAME, leftpad.pad('x'))")
    assert said == "demo  x"
    assert (release / "manifest.json").read_bytes() == (tiny.store / "demo/v1.0.0/manifest.json").read_bytes()
    paths = [path for path in release.rglob("*") if not path.is_symlink()]
    assert not [path for path in (release, *paths) if path.stat().st_mode & 0o222]
    assert {path.name.split(".")[0] for path in paths if path.suffix == ".pyc"} >= {"leftpad", "__init__"}
    assert [path.name for path in release.parent.iterdir()] == ["v1.0.0"]


def test_a_second_install_changes_nothing_even_without_the_store(tiny: Tiny) -> None:
    tiny.run("installed")
    shutil.rmtree(tiny.store)
    assert not tiny.run("installed")["changed"]


def test_the_environment_works_under_a_slots_name(tiny: Tiny) -> None:
    tiny.run("installed")
    slot = tiny.release().parent.parent / "slots/demo@stable"
    slot.parent.mkdir()
    switch(slot, "v1.0.0")
    assert python_says(slot, "import tiny_demo; print(tiny_demo.NAME)") == "demo"


def test_check_mode_says_what_it_would_install_and_installs_nothing(tiny: Tiny) -> None:
    result = tiny.run("installed", check_mode=True)
    assert result["changed"]
    assert not tiny.prefix.exists()
    tiny.run("installed")
    assert not tiny.run("installed", check_mode=True)["changed"]


def flip_wheel(tiny: Tiny) -> None:
    wheel = tiny.store / "demo/v1.0.0/wheels/leftpad-1.3-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[40] ^= 1
    wheel.unlink()
    wheel.write_bytes(data)


def flip_manifest(tiny: Tiny) -> None:
    path = tiny.store / "demo/v1.0.0/manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"dirty": false', b'"dirty": true '))


def drop_wheel(tiny: Tiny) -> None:
    (tiny.store / "demo/v1.0.0/wheels/leftpad-1.3-py3-none-any.whl").unlink()


def drop_signature(tiny: Tiny) -> None:
    (tiny.store / "demo/v1.0.0/manifest.json.sig").unlink()


def change_key(tiny: Tiny) -> None:
    signing.create_key(tiny.key)


def move_folder(tiny: Tiny) -> None:
    shutil.copytree(tiny.store / "demo/v1.0.0", tiny.store / "demo/v1.0.1")
    shutil.rmtree(tiny.store / "demo/v1.0.0")
    (tiny.store / "demo/v1.0.1").rename(tiny.store / "demo/v1.0.0")
    resign(tiny, version="v1.0.1")


def other_abi(tiny: Tiny) -> None:
    resign(tiny, abi="cp399")


def newer_libc(tiny: Tiny) -> None:
    resign(tiny, glibc="99.1")


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (flip_wheel, r"corrupted: \S+/leftpad-1\.3-py3-none-any\.whl has another sha256"),
        (drop_wheel, r"corrupted: \S+/leftpad-1\.3-py3-none-any\.whl is missing"),
        (flip_manifest, r"corrupted or signed by another key: manifest\.json\.sig does not fit"),
        (drop_signature, r"unsigned: \S+/manifest\.json\.sig is missing"),
        (change_key, r"signed by another key"),
        (move_folder, r"holds release v1\.0\.1 of demo, not v1\.0\.0"),
        (other_abi, r"was built for cp399 on \w+, this host has cp3\d+"),
        (newer_libc, r"needs glibc 99\.1, this host has"),
    ],
)
def test_a_release_that_was_tampered_with_or_does_not_fit_is_refused_and_nothing_is_installed(
    tiny: Tiny, harm: Callable[[Tiny], None], line: str
) -> None:
    harm(tiny)
    with pytest.raises(Refused, match=line) as refusal:
        tiny.run("installed")
    assert "\n" not in str(refusal.value)
    assert not tiny.prefix.exists()


def test_a_wheel_swapped_after_it_was_verified_is_caught_by_the_installer(tiny: Tiny) -> None:
    stolen = write_wheel(tiny.base / "thief", "leftpad", "1.3", {"leftpad.py": "print('stolen')\n"})
    wheel = tiny.store / "demo/v1.0.0/wheels/leftpad-1.3-py3-none-any.whl"
    described = manifest.read(wheel.parent.parent)
    assert described
    wheel.unlink()
    shutil.copy(stolen, wheel)
    resign_files = dict(described.files) | {f"wheels/{wheel.name}": manifest.sha256_file(wheel)}
    data = dataclasses.replace(described, files=resign_files).to_bytes()
    (wheel.parent.parent / "manifest.json").write_bytes(data)
    (wheel.parent.parent / "manifest.json.sig").write_bytes(signing.sign(tiny.key, data))
    with pytest.raises(Refused, match=r"cannot be installed under .*leftpad"):
        tiny.run("installed")
    assert not tiny.release().exists()
    assert tiny.run("listed")["listing"]["demo"]["installed"] == []


def test_half_an_install_is_never_seen_as_complete_and_is_replaced(tiny: Tiny) -> None:
    half = tiny.release()
    (half / "bin").mkdir(parents=True)
    (half.with_name("v1.0.0.partial") / "lib").mkdir(parents=True)
    assert tiny.run("listed")["listing"]["demo"]["installed"] == []
    assert tiny.run("installed")["changed"]
    assert python_says(half, "import tiny_demo; print(tiny_demo.NAME)") == "demo"
    assert [path.name for path in half.parent.iterdir()] == ["v1.0.0"]


def test_an_install_that_is_killed_leaves_nothing_that_looks_complete(tiny: Tiny) -> None:
    partial = tiny.release().with_name("v1.0.0.partial")
    child = multiprocessing.get_context("spawn").Process(target=tiny.run, args=("installed",))
    child.start()
    deadline = time.monotonic() + 30
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    child.kill()
    child.join()
    assert partial.exists()
    assert not tiny.release().exists()
    assert tiny.run("listed")["listing"]["demo"]["installed"] == []
    assert tiny.run("installed")["changed"]
    assert not partial.exists()


def test_a_strict_umask_does_not_shut_services_out(tiny: Tiny) -> None:
    before = os.umask(0o077)
    try:
        tiny.run("installed")
    finally:
        os.umask(before)
    folders = [path for path in (tiny.prefix, *tiny.prefix.rglob("*")) if path.is_dir() and "cache" not in path.parts]
    assert not [path for path in folders if path.stat().st_mode & 0o005 != 0o005]


def test_a_name_that_leads_out_of_the_store_is_refused(tiny: Tiny) -> None:
    with pytest.raises(Refused, match=r"'\.\./demo' is not a service's name"):
        tiny.run("installed", services=[tiny.service(name="../demo")])


def test_an_unknown_version_lists_the_known_ones(tiny: Tiny) -> None:
    tiny.run("built", services=[tiny.service("v1.10.0")])
    with pytest.raises(
        Refused, match=r"'v2\.0\.0' of demo is not in the store \S+; known: v1\.10\.0, v1\.0\.0; build it"
    ):
        tiny.run("installed", services=[tiny.service("v2.0.0")])


def test_an_installed_version_with_other_content_is_replaced_only_by_rebuild(tiny: Tiny) -> None:
    tiny.run("installed")
    tiny.write("services/common/src/tiny_common/__init__.py", "NAME = 'rebuilt'\n")
    tiny.run("built", rebuild=True)
    with pytest.raises(Refused, match=r"v1\.0\.0 of demo is installed under \S+ with other content"):
        tiny.run("installed")
    assert tiny.run("installed", rebuild=True)["changed"]
    assert python_says(tiny.release(), "import tiny_common; print(tiny_common.NAME)") == "rebuilt"
    assert not tiny.run("installed", rebuild=True)["changed"]


def test_releases_share_the_files_and_the_bytecode_of_the_same_wheel(tiny: Tiny) -> None:
    tiny.run("built", services=[tiny.service("v1.1.0")])
    tiny.run("installed", services=[tiny.service(), tiny.service("v1.1.0")])
    for pattern in ("lib/*/site-packages/leftpad.py", "lib/*/site-packages/__pycache__/leftpad.*.pyc"):
        inodes = {next(tiny.release(version).glob(pattern)).stat().st_ino for version in ("v1.0.0", "v1.1.0")}
        assert len(inodes) == 1


def test_a_host_without_uv_takes_the_one_in_the_release(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f'#!/bin/sh\necho used >> {tiny.base}/used\nexec {Path(sys.executable).with_name("uv")} "$@"\n'
    wheel = write_wheel(tiny.index, "uv", "0.1", {"uv-0.1.data/scripts/uv": program})
    tiny.write("locks/controller.txt", lock_line(wheel))
    tiny.run("built", services=[tiny.service("v1.1.0")])
    bare = tiny.base / "bare/python"
    bare.parent.mkdir()
    bare.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(bare))
    tiny.run("installed", services=[tiny.service("v1.1.0")], python=bare.resolve())
    assert (tiny.base / "used").is_file()
    assert "uv==" not in (tiny.release("v1.1.0") / "requirements.txt").read_text()


def test_no_space_is_one_line_with_both_numbers() -> None:
    refuse_without_space("demo v1.0.0", Path("/x"), 1 << 30, 1 << 30)
    with pytest.raises(
        Refused, match=r"no space to install demo v1\.0\.0 under /x: needs 1024 MB, 10 MB are free; free some"
    ):
        refuse_without_space("demo v1.0.0", Path("/x"), 1 << 30, 10 << 20)


def test_the_oldest_c_library_that_all_wheels_accept_is_worked_out_from_their_tags() -> None:
    wheels = [
        "a-1-py3-none-any.whl",
        "b-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "c-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "d-1-cp311-cp311-manylinux2014_x86_64.whl",
    ]
    assert needed_glibc(wheels) == "2.27"
    assert needed_glibc(wheels[:1]) == ""


def test_check_mode_tells_of_a_release_that_is_still_to_be_built_and_refuses_it_otherwise(tiny: Tiny) -> None:
    asked: dict[str, Any] = {"services": [tiny.service(), tiny.service("v1.1.0")], "may_be_built": True}
    would = tiny.run("installed", check_mode=True, **asked)
    assert would["changed"]
    assert [entry["changed"] for entry in would["releases"]] == [True, True]
    assert would["diff"]["after"] == "demo v1.0.0\ndemo v1.1.0 (after it is built)\n"
    (warning,) = would["warnings"]
    assert warning.startswith(f"release v1.1.0 of demo is not in the store {tiny.store} yet; would install it after")
    assert not tiny.prefix.exists()
    for check_mode, may_be_built in ((True, False), (False, True)):
        with pytest.raises(Refused, match=r"'v1\.1\.0' of demo is not in the store"):
            tiny.run("installed", check_mode=check_mode, **asked | {"may_be_built": may_be_built})
    tiny.run("built", services=asked["services"])
    assert tiny.run("installed", **asked)["warnings"] == []
    assert not tiny.run("installed", check_mode=True, **asked)["changed"]


def test_check_mode_on_a_machine_without_store_or_key_tells_what_it_would_install(tiny: Tiny) -> None:
    nowhere = {"store": tiny.base / "none", "public_key": tiny.base / "none.pub"}
    assert tiny.run("installed", check_mode=True, may_be_built=True, **nowhere)["changed"]
    assert not (tiny.base / "none").exists()


def test_what_the_host_has_is_not_awaited_though_the_store_lost_it(tiny: Tiny) -> None:
    tiny.run("installed")
    shutil.rmtree(tiny.store)
    would = tiny.run("installed", check_mode=True, may_be_built=True)
    assert (would["changed"], would["warnings"]) == (False, [])


def test_pruning_looks_at_the_services_named_and_keeps_the_versions_given_with_them(tiny: Tiny) -> None:
    for service in ("demo", "other"):
        for minor in range(5):
            for root in (tiny.store / service, tiny.prefix / "opt/caelum" / service / "releases"):
                (root / f"v1.{minor}.0").mkdir(parents=True, exist_ok=True)
                (root / f"v1.{minor}.0/manifest.json").write_text("{}")
    slots = tiny.prefix / "opt/caelum/demo/slots"
    slots.mkdir()
    switch(slots / "demo@candidate", "v1.0.0")
    tiny.run("pruned", keep=1, services=[{"name": "demo", "version": "v1.1.0"}], protect=["v1.2.0"])
    listing = tiny.run("listed")["listing"]
    kept, every = ["v1.4.0", "v1.2.0", "v1.1.0", "v1.0.0"], [f"v1.{minor}.0" for minor in range(4, -1, -1)]
    assert listing["demo"]["store"] == listing["demo"]["installed"] == kept
    assert listing["other"]["store"] == listing["other"]["installed"] == every
    tiny.run("pruned", keep=1)
    assert tiny.run("listed")["listing"]["other"]["store"] == ["v1.4.0"]
    assert tiny.run("listed")["listing"]["demo"]["store"] == ["v1.4.0", "v1.0.0"]


def test_pruning_refuses_a_version_that_could_protect_nothing(tiny: Tiny) -> None:
    with pytest.raises(Refused, match=r"'1\.0\.0' is not a version"):
        tiny.run("pruned", keep=1, services=[{"name": "demo", "version": "1.0.0"}])
    assert (tiny.store / "demo/v1.0.0").exists()


def test_pruning_keeps_the_newest_what_a_slot_points_to_and_what_is_protected(tiny: Tiny) -> None:
    versions = [f"v1.{minor}.0" for minor in range(1, 9)]
    for version in versions:
        shutil.copytree(tiny.store / "demo/v1.0.0", tiny.store / "demo" / version)
        tiny.release(version).mkdir(parents=True)
        (tiny.release(version) / "manifest.json").write_text("{}")
        tiny.release(version).chmod(0o555)
    (tiny.release("v1.8.0").with_name("v1.9.0.partial")).mkdir()
    slots = tiny.release().parent.parent / "slots"
    slots.mkdir()
    switch(slots / "demo@stable", "v1.1.0")
    asked: dict[str, Any] = {"keep": 3, "protect": ["demo/v1.2.0", "other/v1.3.0"]}
    would = tiny.run("pruned", check_mode=True, **asked)
    assert (slots.parent / "releases/v1.3.0").exists()
    result = tiny.run("pruned", **asked)
    assert would["removed"] == result["removed"]
    kept = ["v1.8.0", "v1.7.0", "v1.6.0", "v1.2.0", "v1.1.0"]
    assert tiny.run("listed")["listing"]["demo"] == {
        "store": kept,
        "installed": kept,
        "slots": {"demo@stable": "v1.1.0"},
    }
    assert sorted(path.name for path in (slots.parent / "releases").iterdir()) == sorted(kept)
    assert not tiny.run("pruned", **asked)["changed"]
