"""Of all hosts that may train a job one does, and a host that died holds nobody up for long."""

import os
import threading
import time
from pathlib import Path

import pytest

from finvec import claim as claims
from finvec.claim import STALE_S, Claim, within


def age(folder: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(folder / "llm1-tech.json", (past, past))


def test_the_second_host_is_told_who_has_the_job(tmp_path: Path) -> None:
    first, second = Claim(tmp_path, "llm1-tech", "10.32.3.27"), Claim(tmp_path, "llm1-tech", "10.32.3.62")
    assert first.take() is None
    holder = second.take()
    assert holder is not None
    assert holder.host == "10.32.3.27"
    assert Claim(tmp_path, "llm3-yieldmax", "10.32.3.62").take() is None
    first.release()
    assert second.take() is None
    assert {path.name for path in tmp_path.iterdir()} == {"llm1-tech.json", "llm3-yieldmax.json"}


def test_a_release_leaves_another_host_s_claim_alone(tmp_path: Path) -> None:
    first, second = Claim(tmp_path, "llm1-tech", "10.32.3.27"), Claim(tmp_path, "llm1-tech", "10.32.3.62")
    assert first.take() is None
    age(tmp_path, STALE_S + 1)
    assert second.take() is None
    first.release()
    holder = second.holder()
    assert holder is not None
    assert holder.host == "10.32.3.62"


@pytest.mark.parametrize(("silent_s", "taken"), [(STALE_S - 30, False), (STALE_S + 5, True)])
def test_a_claim_is_taken_over_when_its_holder_was_silent_for_long(
    tmp_path: Path, silent_s: float, *, taken: bool
) -> None:
    assert Claim(tmp_path, "llm1-tech", "10.32.3.27").take() is None
    age(tmp_path, silent_s)
    assert (Claim(tmp_path, "llm1-tech", "10.32.3.62").take() is None) == taken


def test_a_host_takes_its_own_claim_back_at_once_after_a_reboot(tmp_path: Path) -> None:
    assert Claim(tmp_path, "llm1-tech", "10.32.3.27").take() is None
    assert Claim(tmp_path, "llm1-tech", "10.32.3.27").take() is None


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_try_at_once_exactly_one_wins(tmp_path: Path, *, stale: bool) -> None:
    for turn in range(20):
        folder = tmp_path / str(turn)
        if stale:
            assert Claim(folder, "llm1-tech", "dead").take() is None
            age(folder, STALE_S + 5)
        start = threading.Barrier(8)
        won: list[str] = []

        def attempt(host: str, folder: Path = folder, start: threading.Barrier = start, won: list[str] = won) -> None:
            claim = Claim(folder, "llm1-tech", host)
            start.wait()
            if claim.take() is None:
                won.append(host)

        tries = [threading.Thread(target=attempt, args=(str(number),)) for number in range(8)]
        for each in tries:
            each.start()
        for each in tries:
            each.join()
        assert len(won) == 1
        holder = Claim(folder, "llm1-tech", "asks").holder()
        assert holder is not None
        assert holder.host == won[0]


def test_a_holder_is_heard_of_and_notices_that_it_lost_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr("_thread.interrupt_main", ended.append)
    first = Claim(tmp_path, "llm1-tech", "10.32.3.27")
    assert first.take() is None
    age(tmp_path, 100)
    first.keep()
    time.sleep(0.5)
    assert time.time() - (tmp_path / "llm1-tech.json").stat().st_mtime < 1
    assert ended == []
    (tmp_path / "llm1-tech.json").unlink()
    assert Claim(tmp_path, "llm1-tech", "10.32.3.62").take() is None
    time.sleep(0.5)
    assert len(ended) == 1
    assert first.lost is not None
    assert first.lost.host == "10.32.3.62"


def test_what_hangs_is_left_behind() -> None:
    gate = threading.Event()
    begin = time.monotonic()

    def hang() -> None:
        gate.wait(5)

    assert not within(0.1, hang)
    assert time.monotonic() - begin < 1
    gate.set()
    assert within(1, lambda: None)
