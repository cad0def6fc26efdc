"""Root works in folders of the services' users and on the share, and follows no link that somebody planted there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.caelum import halt
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.host import credentials, folders


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "shadow"
    file.write_text("root's own")
    file.chmod(0o600)
    return file


def test_the_halt_is_written_past_links_of_every_name_that_can_be_foreseen(tmp_path: Path, victim: Path) -> None:
    flag = tmp_path / "fincoll" / halt.FLAG
    flag.parent.mkdir()
    for name in (flag.name, f".{flag.name}.{os.getpid()}"):
        (flag.parent / name).symlink_to(victim)
    halt.write(flag, halt.Halt("jane", "2025-06-02T08:00:00Z", "a test"))
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root's own", 0o600)
    assert not flag.is_symlink()
    assert flag.stat().st_mode & 0o777 == 0o644
    assert halt.read(flag) == halt.Halt("jane", "2025-06-02T08:00:00Z", "a test")


@pytest.mark.parametrize("owner", [None, "daemon"])
def test_a_folder_that_became_a_link_after_the_look_is_refused(tmp_path: Path, owner: str | None) -> None:
    if owner and os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "status").mkdir(mode=0o700)
    (fix,) = folders.plan([{"path": "status", "mode": "0755", "owner": owner}], tmp_path)
    (tmp_path / "status").rmdir()
    (tmp_path / "status").symlink_to(elsewhere)
    with pytest.raises(Refused, match="cannot become folder 0755"):
        fix.apply()
    status = elsewhere.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o700, os.geteuid())


def test_a_link_in_the_place_of_a_key_is_refused_by_the_look_and_by_the_reader(tmp_path: Path, victim: Path) -> None:
    key = tmp_path / ".alpha_vantage_credentials.json"
    key.symlink_to(victim)
    for judge in (credentials.read, credentials.refuse_open):
        with pytest.raises(Refused, match="is a link, which is not followed"):
            judge(key)
