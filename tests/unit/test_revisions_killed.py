"""A host's records when a call is killed: each write or removal is a point at which it really is, by SIGKILL."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.revisions import SECRET, deploy, release, roll_back, version

# isort: split
from ansible.module_utils.caelum.instance import store
from ansible.module_utils.caelum.instance.store import Revisions

forked = multiprocessing.get_context("fork")
WRITES = ((store, "write_atomic"), (store, "switch_symlink"), (store, "fsync_dir"), (Path, "unlink"))


def doomed(point: int, call: Callable[[Revisions], None], prefix: Path) -> None:
    """Run `call`, killed just before its `point`-th change of the disk; for a process of its own."""
    left = [point]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return step

    for owner, name in WRITES:
        setattr(owner, name, counted(getattr(owner, name)))
    call(Revisions(prefix, "fincoll"))


def every_point(tmp_path: Path, what: Callable[[Revisions], None]) -> Iterator[Revisions]:
    """The host with two releases, after `what` was killed at its first, second, … change of the disk, then after it."""
    base = tmp_path / "base"
    deploy(Revisions(base, "fincoll"), 1, "v1.0.0")
    deploy(Revisions(base, "fincoll"), 2, "v1.1.0")
    for point in range(100):
        prefix = tmp_path / str(point)
        shutil.copytree(base, prefix, symlinks=True)
        process = forked.Process(target=doomed, args=(point, what, prefix))
        process.start()
        process.join()
        yield Revisions(prefix, "fincoll")
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0
            assert point > 3, "the points were counted"
            return
    raise AssertionError("it never came to its end")


def deploys(revisions: Revisions) -> None:
    deploy(revisions, 3, "v1.2.0")


def rolls_back(revisions: Revisions) -> None:
    roll_back(revisions, 3)


def deploys_the_same(revisions: Revisions) -> None:
    deploy(revisions, 3, "v1.1.0")


def fail(*_: object) -> None:
    raise OSError(28, "no space")


def deploys_after_an_attempt(revisions: Revisions) -> None:
    """The attempt before was killed after it had written its revision and before that became current."""
    revisions.begin(3, release("v1.2.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "switch_symlink", fail)
        with pytest.raises(OSError, match="no space"):
            revisions.commit(3)
    deploy(revisions, 4, "v1.3.0")


ALL = [(deploys, "v1.2.0"), (rolls_back, "v1.0.0"), (deploys_the_same, "v1.1.0"), (deploys_after_an_attempt, "v1.3.0")]
every_change = pytest.mark.parametrize(("what", "goal"), ALL)


@every_change
def test_killed_anywhere_the_host_has_one_truth(tmp_path, what, goal):
    """Before the one rename it has what it had and may be half way; after it, the new release and nothing pending."""
    seen = set()
    for revisions in every_point(tmp_path, what):
        pending, current = revisions.pending(), version(revisions)
        seen.add((current, pending is not None))
        if pending is not None:
            assert (current, revisions.wanted("rollback").version) == ("v1.1.0", "v1.1.0")
        elif current != "v1.0.0":
            assert revisions.wanted("rollback").version == ("v1.0.0" if current == "v1.1.0" else "v1.1.0")
    assert seen == {("v1.1.0", False), ("v1.1.0", True), (goal, False)}


@every_change
def test_killed_anywhere_the_reaper_can_take_it_back_and_the_next_deployment_ends_clean(tmp_path, what, goal):
    for revisions in every_point(tmp_path, what):
        before = version(revisions)
        revisions.fence(8)
        if revisions.pending() is not None:
            revisions.begin(8, revisions.current())
            revisions.discard(8)
        assert (version(revisions), revisions.pending()) == (before, None)
        numbers = revisions.numbers()
        assert deploy(revisions, 9, "v2.0.0") == numbers[-1] + 1
        assert version(revisions) == "v2.0.0"
        assert roll_back(revisions, 10) == before
        folder = revisions._folder
        left = {path.name for path in folder.iterdir() if not path.stem.isdecimal()}
        assert left == {"current", "fence", ".lock"}, "nothing is left over"


@every_change
def test_killed_anywhere_the_same_deployment_can_be_tried_again(tmp_path, what, goal):
    """As when the commit's answer was lost: the call is made once more and ends where one call would have."""
    for revisions in every_point(tmp_path, what):
        pending = revisions.pending()
        if pending is None or pending.fencing_token < revisions.highest_token():
            continue
        assert revisions.commit(pending.fencing_token).version == pending.version
        assert revisions.commit(pending.fencing_token).version == version(revisions)
        reachable = [revision.number for revision in revisions.chain(9)]
        assert set(reachable) | {2} == set(revisions.numbers()), "no revision is there twice"


def test_a_commit_that_failed_before_its_link_leaves_no_revision_behind_when_it_is_taken_back(tmp_path, monkeypatch):
    revisions = Revisions(tmp_path, "fincoll")
    deploy(revisions, 1, "v1.0.0")
    revisions.begin(2, release("v1.1.0"))
    with monkeypatch.context() as patch:
        patch.setattr(store, "switch_symlink", fail)
        with pytest.raises(OSError, match="no space"):
            revisions.commit(2)
    assert revisions.numbers() == [1, 2]
    revisions.discard(3)
    assert (revisions.numbers(), version(revisions)) == ([1], "v1.0.0")


def test_temporary_files_of_a_killed_write_go_with_the_next(tmp_path):
    revisions = Revisions(tmp_path, "fincoll")
    deploy(revisions, 1, "v1.0.0")
    left = tmp_path / "var/lib/caelum/revisions/fincoll/.pending.json.abc"
    left.write_text(SECRET)
    revisions.begin(2, release("v1.1.0"))
    assert not left.exists()
