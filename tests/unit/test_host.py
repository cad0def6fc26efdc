"""A fleet host's share, keys, folders and users: as systemd names them, never waited for, never readable by others."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.host import credentials, folders, share, transaction, users

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users, which only root can")


@pytest.mark.package("systemd-container")
@pytest.mark.parametrize("path", ["/home/rford/caelum/ss", "/srv/caelum ss", "/.hidden/a-b", "/srv/größe"])
def test_a_path_is_escaped_as_systemd_does_it(path: str) -> None:
    said = subprocess.check_output(["systemd-escape", "--path", path], text=True).strip()
    assert share.escaped(Path(path)) == said


def wanted(**more: Any) -> dict[str, Any]:
    return {"path": "/srv/caelum-x", "source": "nas:/export/caelum", "type": "nfs", "options": "soft,timeo=50", **more}


@pytest.mark.package("systemd-container")
def test_systemd_takes_the_units_of_the_share_and_refuses_what_is_none() -> None:
    units = share.units(wanted())
    share.verify(units)
    assert "Options=soft,timeo=50,_netdev\n" in units["srv-caelum\\x2dx.mount"]
    broken = {name: text.replace("Where=/srv/caelum-x", "Where=elsewhere") for name, text in units.items()}
    with pytest.raises(Refused, match="systemd does not take the units of the share"):
        share.verify(broken)


def test_what_is_mounted_is_read_from_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "25 1 0:23 / /srv/caelum\\040ss rw - autofs systemd-1 rw\n"
        "26 1 0:24 / /srv/caelum\\040ss rw shared:1 - nfs4 nas:/export/caelum rw,soft\n"
        "27 1 0:25 / /srv/other rw - autofs systemd-1 rw\n"
    )
    assert share.mounted(Path("/srv/caelum ss"), table) == "nas:/export/caelum"
    assert share.mounted(Path("/srv/other"), table) == ""


def test_a_share_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="set caelum_share_source"):
        share.plan(wanted(path=str(tmp_path / "none"), source=""))
    assert share.plan(wanted(path=str(tmp_path), source="")) == []


def key(tmp_path: Path, mode: int) -> Path:
    file = tmp_path / ".alpha_vantage_credentials.json"
    file.write_text('{"api_key": "k"}\n')
    file.chmod(mode)
    return file


def test_a_key_on_the_share_reaches_the_instance_and_a_missing_one_does_not(tmp_path: Path) -> None:
    files = {"a.json": str(key(tmp_path, 0o600)), "b.json": str(tmp_path / ".none")}
    (item,) = credentials.resolved([{"name": "x@stable", "credential_files": files, "credentials": {"c": "d"}}])
    assert item["credentials"] == {"c": "d", "a.json": '{"api_key": "k"}\n'}
    assert item["credential_files"] == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Refused, match=f"has mode {mode:04o}, so others may read it; `chmod 600"):
        credentials.read(key(tmp_path, mode))


@as_root
def test_a_key_of_a_stranger_is_refused(tmp_path: Path) -> None:
    file = key(tmp_path, 0o600)
    os.chown(file, 12345, 12345)
    with pytest.raises(Refused, match="belongs to number 12345, neither root nor the owner of its folder"):
        credentials.read(file)
    os.chown(tmp_path, 12345, 12345)
    assert credentials.read(file) == '{"api_key": "k"}\n'


def test_a_share_that_hangs_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / ".key.json"
    os.mkfifo(pipe, 0o600)  # nobody writes to it: whoever reads it waits
    begun = time.monotonic()
    with pytest.raises(Refused, match=r"did not answer for 0\.5 s"):
        credentials.read(pipe, 0.5)
    assert time.monotonic() - begun < 3


def test_folders_become_what_they_must_be_once(tmp_path: Path) -> None:
    want = [{"path": "a/b", "mode": "0750", "owner": None}]
    (fix,) = folders.plan(want, tmp_path)
    assert (fix.before, fix.after) == ("missing", "folder 0750")
    fix.apply()
    assert folders.plan(want, tmp_path) == []
    (tmp_path / "a/b").chmod(0o777)
    (fix,) = folders.plan(want, tmp_path)
    assert fix.before == "folder 0777"
    fix.apply()
    assert folders.plan(want, tmp_path) == []


def test_a_file_in_place_of_a_folder_is_refused_not_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(Refused, match="is no folder"):
        folders.plan([{"path": "a", "mode": "0755", "owner": None}], tmp_path)


def test_a_number_that_somebody_has_is_not_given_twice() -> None:
    with pytest.raises(Refused, match="is to have number 0, which root"):
        users.plan([{"name": "caelum-nobody-has-this-name", "uid": 0}])
    with pytest.raises(Refused, match="user root has the numbers 0:0 on this host and must have 4711:4711"):
        users.plan([{"name": "root", "uid": 4711}])


def test_a_login_user_of_a_services_name_loses_its_shell() -> None:
    (fix,) = users.plan([{"name": "root", "uid": None}])
    assert "shell /usr/sbin/nologin, home /nonexistent" in fix.after


def test_a_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(Refused, match="caelum_journal_max is '1X'"):
        transaction._journal("1X")
