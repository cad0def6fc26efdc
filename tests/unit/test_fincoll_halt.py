"""The file that halts FinColl: whatever is in doubt halts, and looking for it costs next to nothing."""

import json
import time
from pathlib import Path

import pytest

from fincoll.halt import FLAG, Halt, HaltFlag

MADE = {"by": "jane", "at": "2025-06-02T08:00:00Z", "reason": "the split of AAPL"}


def test_the_halt_lasts_from_the_files_coming_to_its_going(tmp_path: Path) -> None:
    flag, path = HaltFlag(tmp_path), tmp_path / FLAG
    assert flag.read() is None
    path.write_text(json.dumps(MADE))
    assert flag.read() == flag.read() == Halt(**MADE)
    path.write_text(json.dumps({**MADE, "reason": "another"}))
    assert flag.read() == Halt(**{**MADE, "reason": "another"})
    path.unlink()
    assert flag.read() is None


def test_without_a_folder_there_is_no_halt(tmp_path: Path) -> None:
    assert HaltFlag(None).read() is None
    assert HaltFlag(tmp_path / "missing").read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"by": "jane"}', b"\xff"])
def test_a_flag_that_says_nothing_halts_and_becomes_readable_later(tmp_path: Path, content: bytes) -> None:
    flag, path = HaltFlag(tmp_path), tmp_path / FLAG
    path.write_bytes(content)
    halt = flag.read()
    assert halt is not None
    assert f"{path} is there and does not say by whom and why" in halt.problem().detail
    assert "resume.yml" in halt.problem().remedy
    path.write_text(json.dumps(MADE))
    assert flag.read() == Halt(**MADE)


def test_a_flag_that_cannot_be_read_halts(tmp_path: Path) -> None:
    (tmp_path / FLAG).mkdir()
    halt = HaltFlag(tmp_path).read()
    assert halt is not None
    assert "cannot be read (Is a directory)" in halt.trouble


def test_a_folder_that_cannot_be_looked_into_halts_until_it_can(tmp_path: Path) -> None:
    loop = tmp_path / "state"
    loop.symlink_to(loop)  # what nobody can enter, root included
    flag = HaltFlag(loop)
    halt = flag.read()
    assert halt is not None
    assert "cannot be seen (Too many levels of symbolic links)" in halt.trouble
    loop.unlink()
    assert flag.read() is None


@pytest.mark.parametrize("halted", [False, True])
def test_a_look_takes_less_than_20_microseconds(tmp_path: Path, halted: bool) -> None:
    if halted:
        (tmp_path / FLAG).write_text(json.dumps(MADE))
    flag = HaltFlag(tmp_path)
    flag.read()

    def look() -> float:
        begin = time.perf_counter()
        for _ in range(100):
            flag.read()
        return (time.perf_counter() - begin) / 100

    assert min(look() for _ in range(50)) < 20e-6, "of the quickest: a busy machine may interrupt the others"
