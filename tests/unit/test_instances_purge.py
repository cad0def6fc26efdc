"""A purge removes a deployment whole, whatever the permissions in it, and refuses what is no deployment."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.atomic import make_read_only, remove_tree

from support.modules import load, run_module

# Loaded once: the user that a test becomes may not enter the checkout.
MODULE = load("caelum_instance")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A deployment at rest, with a release as installed, in a place that every user can enter."""
    place = Path(tempfile.mkdtemp(prefix="cae", dir="/tmp"))
    place.chmod(0o755)
    deploy(place / "p")
    yield place / "p"
    if place.exists():
        remove_tree(place)


def deploy(prefix: Path) -> None:
    """Files as a deployment leaves them, each in its own kind of folder."""
    for name in (
        "opt/caelum/pim/releases/v1.0.0/lib/pim.py", "etc/caelum/secrets/token", "etc/supervisor/supervisord.conf",
        "var/lib/caelum/postgresql/data/base/1", "var/log/caelum/pim.log", "var/cache/caelum/uv/x",
        "share/releases/pim/v1.0.0/manifest.json", "run/supervisord.pid",
    ):  # fmt: skip
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text("x")
    (prefix / "opt/caelum/pim/slots").mkdir()
    (prefix / "opt/caelum/pim/slots/pim@stable").symlink_to("../releases/v1.0.0")
    make_read_only(prefix / "opt/caelum/pim/releases/v1.0.0")
    (prefix / "etc/caelum/secrets").chmod(0o700)


def purge(prefix: Path, *also: Path | str, check: bool = False) -> dict[str, Any]:
    """The module's result."""
    options = {"state": "absent", "purge": True, "purge_also": [str(path) for path in also]}
    return run_module(MODULE, {"prefix": str(prefix), **options}, check=check)


def files(root: Path) -> list[str]:
    """Every path under `root`."""
    return sorted(str(path) for path in root.rglob("*"))


def test_everything_goes_as_check_mode_said_and_a_second_purge_changes_nothing(prefix: Path) -> None:
    before = files(prefix)
    planned = purge(prefix, prefix / "share", check=True)
    assert files(prefix) == before
    done = purge(prefix, prefix / "share")
    assert (done["changed"], done["steps"], done["warnings"]) == (True, planned["steps"], [])
    assert f"remove {prefix}/opt/caelum with all it holds" in done["steps"]
    assert not prefix.exists()
    assert prefix.parent.exists()
    assert not purge(prefix, prefix / "share")["changed"]


def _as_user(uid: int, prefix: Path, outcome: Path) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    outcome.write_text(str(purge(prefix, prefix / "share")))


def purge_as(name: str, prefix: Path) -> str:
    """The result of a purge by the user `name`."""
    uid = pwd.getpwnam(name).pw_uid
    purge(prefix, check=True)  # imports what the child, being somebody else, could not read
    outcome = prefix.parent / "outcome"
    outcome.touch()
    os.chown(outcome, uid, -1)
    child = multiprocessing.get_context("fork").Process(target=_as_user, args=(uid, prefix, outcome))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    return outcome.read_text()


def give(name: str, root: Path) -> None:
    """Make everything from `root` on the user's."""
    entry = pwd.getpwnam(name)
    for path in (root, *root.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


@needs_root
def test_a_plain_user_removes_read_only_releases(prefix: Path) -> None:
    give("nobody", prefix.parent)
    assert "'changed': True" in purge_as("nobody", prefix)
    assert not prefix.exists()


@needs_root
def test_a_plain_user_is_refused_what_belongs_to_another_before_anything_changes(prefix: Path) -> None:
    give("nobody", prefix.parent)
    os.chown(prefix / "var/lib/caelum", 0, 0)
    before = files(prefix)
    assert f"{prefix}/var/lib/caelum belongs to root; run as that user, or as root" in purge_as("nobody", prefix)
    assert files(prefix) == before


@needs_root
def test_root_removes_what_belongs_to_a_system_user(prefix: Path) -> None:
    give("nobody", prefix / "var/lib/caelum/postgresql")
    (prefix / "var/lib/caelum/postgresql/data").chmod(0o700)
    assert purge(prefix, "share")["changed"]
    assert not prefix.exists()


def test_what_nobody_may_enter_goes_and_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    (tmp_path / "tree/closed/deep").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(outside)
    (tmp_path / "tree/closed").chmod(0)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_what_the_deployment_did_not_make_stays_and_is_told(prefix: Path) -> None:
    (prefix / "etc/hosts").write_text("mine")
    done = purge(prefix, "share")
    assert files(prefix) == [f"{prefix}/etc", f"{prefix}/etc/hosts"]
    assert done["warnings"] == [
        f"{prefix} stays: it holds more than the deployment made, or its name cannot be removed"
    ]


def test_a_share_elsewhere_is_left_alone(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "share/releases").mkdir(parents=True)
    shutil.rmtree(prefix / "share")
    (prefix / "nas").symlink_to(tmp_path)
    purge(prefix, tmp_path / "share", prefix / "nas/share", prefix, "..", "/")
    assert (tmp_path / "share/releases").exists()
    assert files(prefix) == [f"{prefix}/nas"]


def test_an_interrupted_purge_is_finished(prefix: Path) -> None:
    for name in ("opt", "var", "run", "share"):
        remove_tree(prefix / name)
    assert purge(prefix, "share")["changed"]
    assert not prefix.exists()


@pytest.mark.parametrize("root", ["/", "//", "/usr/.."])
def test_the_whole_system_is_refused(root: str) -> None:
    result = purge(Path(root), check=True)
    assert result["failed"]
    assert (
        "is the whole system and is not purged; give the folder of a deployment with -e caelum_prefix=" in result["msg"]
    )


def test_a_home_directory_is_refused(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(prefix))
    before = files(prefix)
    assert f"{prefix} is a home directory and is not purged" in purge(prefix)["msg"]
    assert files(prefix) == before


def test_a_folder_without_a_deployment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "var/lib/caelum").mkdir(parents=True)
    assert "holds no deployment, neither opt/caelum nor etc/caelum is in it" in purge(tmp_path)["msg"]
    assert (tmp_path / "var/lib/caelum").exists()


def test_data_behind_a_link_is_refused_before_anything_changes(prefix: Path, tmp_path: Path) -> None:
    (prefix / "var").rename(tmp_path / "disk")
    (prefix / "var").symlink_to(tmp_path / "disk")
    before = files(prefix)
    assert f"var/log/caelum is a link, or lies behind one, to {tmp_path}/disk/log/caelum" in purge(prefix)["msg"]
    assert files(prefix) == before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"state": "stopped", "purge": True}, "purge removes all of the prefix, state=stopped keeps it"),
        ({"state": "absent", "purge_also": ["share"]}, "purge_also goes with purge: true"),
    ],
)
def test_a_purge_that_cannot_be_meant_is_refused(prefix: Path, options: dict[str, Any], line: str) -> None:
    assert line in run_module("caelum_instance", {"prefix": str(prefix), **options})["msg"]
    assert (prefix / "share").exists()
