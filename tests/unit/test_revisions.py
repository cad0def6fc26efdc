"""A host's records of its releases: what a rollback returns to, and that nobody late or foreign changes it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support.modules import run_module
from support.revisions import SECRET, deploy, release, roll_back, version

# isort: split
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance.revision import with_others
from ansible.module_utils.caelum.instance.store import KEEP, Fenced, Revisions

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")
spawning = multiprocessing.get_context("fork")


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    return Revisions(tmp_path, "fincoll")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the records are."""
    return tmp_path / "var/lib/caelum/revisions/fincoll"


def test_a_host_without_records_has_none_and_reading_makes_no_folder(revisions, tmp_path):
    assert (revisions.current(), revisions.previous(), revisions.pending()) == (None, None, None)
    assert (revisions.chain(3), revisions.kept(), revisions.highest_token()) == ([], [], 0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_committed_is_read_back_as_it_was_given(revisions):
    given = release("v1.0.0", tokens=({"name": "pim", "sha256": "ab"},), model={"job": "llm1", "version": 3}, run="r1")
    revisions.begin(7, given)
    revision = revisions.commit(7)
    assert revisions.current() == revision
    assert revision.content() == given.content()
    assert (revision.number, revision.previous, revision.fencing_token, revision.run) == (1, None, 7, "r1")


def test_two_rollbacks_go_back_twice_and_one_after_a_deploy_returns_to_what_was_live(revisions):
    for token, name in enumerate(("v1.0.0", "v1.1.0", "v1.2.0"), 1):
        deploy(revisions, token, name)
    assert [roll_back(revisions, 4), roll_back(revisions, 5)] == ["v1.1.0", "v1.0.0"]
    with pytest.raises(Refused, match=r"^fincoll has no earlier release on this host to return to; deploy the version"):
        revisions.wanted("rollback")
    assert deploy(revisions, 6, "v1.3.0") == 4
    assert roll_back(revisions, 7) == "v1.0.0"


def test_the_same_release_again_makes_no_new_revision_so_that_a_rollback_still_goes_back(revisions):
    deploy(revisions, 1, "v1.0.0")
    deploy(revisions, 2, "v1.1.0")
    assert deploy(revisions, 3, "v1.1.0", run="another run") == 2
    assert revisions.current().fencing_token == 3, "the reaper must see that this one was verified too"
    assert roll_back(revisions, 4) == "v1.0.0"


@pytest.mark.parametrize(
    "change", [{"config": {"port": 9}}, {"tokens": ("t",)}, {"model": {"v": 2}}, {"instances": ()}]
)
def test_another_configuration_of_the_same_version_is_another_revision(revisions, change):
    deploy(revisions, 1, "v1.0.0")
    assert deploy(revisions, 2, "v1.0.0", **change) == 2


def test_a_rollback_under_way_is_current_again_when_a_rollback_is_asked_for_and_nothing_was_lost(revisions):
    deploy(revisions, 1, "v1.0.0")
    deploy(revisions, 2, "v1.1.0")
    revisions.begin(3, release("v1.2.0"))
    assert revisions.pending().version == "v1.2.0"
    assert revisions.wanted("rollback").version == "v1.1.0"
    assert revisions.wanted("previous").version == "v1.0.0"
    assert revisions.discard(4) is True
    assert revisions.discard(4) is False
    assert (version(revisions), revisions.pending(), revisions.numbers()) == ("v1.1.0", None, [1, 2])


def test_commit_twice_is_as_once_and_of_what_nobody_began_is_refused(revisions):
    deploy(revisions, 3, "v1.0.0")
    assert revisions.commit(3).number == 1
    with pytest.raises(Refused, match=r"^nothing that fencing token 4 began is pending for fincoll on this host; "):
        revisions.commit(4)
    revisions.begin(5, release("v1.1.0"))
    with pytest.raises(Refused, match="was begun with fencing token 5, not 6; end it with"):
        revisions.commit(6)
    assert version(revisions) == "v1.0.0"


def test_a_deployment_that_went_back_by_itself_does_not_look_verified_to_the_reaper(revisions):
    """It takes `current.fencing_token == the row's` for a success, which a release that was taken back is not."""
    deploy(revisions, 1, "v1.0.0")
    revisions.begin(2, release("v1.1.0"))
    revisions.begin(2, revisions.wanted("current"))
    revisions.begin(2, revisions.wanted("current"))  # the take-back was tried again
    assert revisions.commit(2).fencing_token == 1
    assert (version(revisions), revisions.pending(), revisions.numbers()) == ("v1.0.0", None, [1])


def test_a_rollback_looks_verified_to_the_reaper(revisions):
    deploy(revisions, 1, "v1.0.0")
    deploy(revisions, 2, "v1.1.0")
    roll_back(revisions, 3)
    assert (version(revisions), revisions.current().fencing_token) == ("v1.0.0", 3)
    revisions.begin(4, release("v1.2.0"))
    revisions.begin(5, revisions.wanted("rollback"))  # from what another deployment left
    revisions.commit(5)
    assert (version(revisions), revisions.current().fencing_token) == ("v1.0.0", 5)


def test_one_token_may_begin_again_after_its_commit(revisions):
    """A run with the kill switch has no database to give it a token, and goes by the host's own."""
    deploy(revisions, 1, "v1.0.0")
    deploy(revisions, 2, "v1.1.0")
    revisions.begin(2, revisions.wanted("previous"))
    assert revisions.pending() is not None
    assert revisions.commit(2).version == "v1.0.0"


# --- late ones ---


def test_who_was_taken_over_can_neither_begin_nor_commit_nor_discard(revisions):
    deploy(revisions, 1, "v1.0.0")
    revisions.begin(2, release("v1.1.0"))
    revisions.fence(3)
    for late in (lambda: revisions.begin(2, release("v9.0.0")), lambda: revisions.commit(2),
                 lambda: revisions.discard(2), lambda: revisions.fence(2)):  # fmt: skip
        with pytest.raises(Fenced, match=r"fencing token 3 was here since, this deployment has 2; ") as refusal:
            late()
        assert "\n" not in str(refusal.value)
    assert (version(revisions), revisions.pending().version) == ("v1.0.0", "v1.1.0")


def test_the_fence_is_only_ever_raised(revisions, folder):
    revisions.fence(5)
    revisions.fence(5)
    with pytest.raises(Fenced):
        revisions.fence(4)
    assert (folder / "fence").read_text() == "5\n"
    (folder / "fence").write_text("x")
    with pytest.raises(Refused, match="holds no number"):
        revisions.fence(6)


def hold(prefix: Path, ready: Any) -> None:
    with Revisions(prefix, "fincoll").locked():
        ready.set()
        signal.pause()


def test_a_second_process_waits_for_the_lock_names_who_has_it_and_gets_it_when_that_one_is_killed(tmp_path):
    ready = spawning.Event()
    holder = spawning.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    try:
        assert ready.wait(30)
        impatient = Revisions(tmp_path, "fincoll", lock_wait=0.1)
        with pytest.raises(Refused, match=rf"^process {holder.pid} holds .*/\.lock for more than 0\.1 s; wait for it"):
            impatient.fence(1)
        assert Revisions(tmp_path, "senvec", lock_wait=0.1).discard(1) is False, "another service has its own"
    finally:
        holder.kill()
        holder.join()
    deploy(Revisions(tmp_path, "fincoll", lock_wait=30), 1, "v1.0.0")


# --- broken files ---


def test_a_pending_file_that_cannot_be_read_means_half_way(revisions, folder):
    deploy(revisions, 1, "v1.0.0")
    (folder / "pending.json").write_text("{")
    assert revisions.wanted("rollback").version == "v1.0.0"
    with pytest.raises(Refused, match="was begun with fencing token 0, not 2"):
        revisions.commit(2)
    assert revisions.discard(2) is True
    assert revisions.pending() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "number": 1}'])
def test_a_revision_that_cannot_be_read_is_named_and_a_deployment_makes_good_for_it(revisions, folder, text):
    deploy(revisions, 1, "v1.0.0")
    (folder / "1.json").write_text(text)
    with pytest.raises(
        Refused, match=r"^revision 1 of fincoll on this host cannot be read from .*1\.json: .*; deploy "
    ):
        revisions.current()
    assert deploy(revisions, 2, "v1.1.0") == 2
    assert version(revisions) == "v1.1.0"
    assert revisions.previous() is None


def test_a_current_that_is_no_link_is_refused_with_what_to_do(revisions, folder):
    deploy(revisions, 1, "v1.0.0")
    (folder / "current").unlink()
    (folder / "current").write_text("1.json")
    with pytest.raises(Refused, match=r"current is no link to a revision; point it .* `ln -sfn"):
        revisions.current()


# --- who may read and write ---


def test_the_records_are_closed_to_others_whatever_the_umask(revisions, folder):
    before = os.umask(0)
    try:
        deploy(revisions, 1, "v1.0.0")
        revisions.begin(2, release("v1.1.0"))
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in (folder, folder.parent)} == {"0o700"}
    modes = {path.name: oct(path.lstat().st_mode & 0o777) for path in folder.iterdir() if not path.is_symlink()}
    assert set(modes) == {"1.json", "pending.json", "fence", ".lock"}
    assert set(modes.values()) == {"0o600"}
    assert folder.parent.parent.stat().st_mode & 0o777 == 0o755


@needs_root
@pytest.mark.parametrize("which", ["fincoll", "."])
def test_records_that_a_service_could_have_written_are_not_followed(revisions, folder, which):
    """Whoever writes them chooses what root runs."""
    deploy(revisions, 1, "v1.0.0")
    os.chown(folder.parent / which, 65534, -1)
    for act in (revisions.current, revisions.pending, revisions.numbers, lambda: revisions.commit(1)):
        with pytest.raises(Refused, match="who could choose what this call runs; run as that user, or as root look"):
            act()


def test_records_that_everyone_can_write_are_not_followed(revisions, folder):
    deploy(revisions, 1, "v1.0.0")
    folder.chmod(0o777)
    with pytest.raises(Refused, match="can be written by others"):
        revisions.current()


def test_a_link_in_place_of_the_folder_is_not_followed(revisions, folder, tmp_path):
    deploy(revisions, 1, "v1.0.0")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is a link; "):
        revisions.current()


@pytest.mark.parametrize("name", ["", "../pim", "Fincoll", "a/b", "."])
def test_what_is_no_services_name_is_refused(tmp_path, name):
    with pytest.raises(Refused, match="is no service's name"):
        Revisions(tmp_path, name)


def test_no_text_of_a_revision_holds_a_credential(revisions):
    pending = revisions.begin(1, release("v1.0.0"))
    revision = revisions.commit(1)
    shown = revision.shown()
    assert SECRET not in f"{pending!r}{revision!r}{shown}{pending.shown()}"
    assert shown["instances"] == [
        {"name": "fincoll@stable", "component": "fincoll", "slot": "stable", "service": "fincoll", "release": "v1.0.0",
         "address": "127.0.0.1", "port": 8001, "kind": None, "state": None}
    ]  # fmt: skip


def test_old_revisions_go_and_those_that_can_be_returned_to_stay(revisions):
    for number in range(1, KEEP + 6):
        deploy(revisions, number, f"v1.{number}.0")
    assert revisions.numbers() == list(range(6, KEEP + 6))
    for _ in range(KEEP - 1):
        roll_back(revisions, 99)
    assert version(revisions) == "v1.6.0"
    deploy(revisions, 100, "v2.0.0")
    assert revisions.previous().version == "v1.6.0"
    assert 6 in revisions.numbers()


def test_what_is_not_listed_is_kept_in_its_place():
    old = [{"name": "a@stable", "v": 1}, {"name": "b@stable", "v": 1}]
    new = [{"name": "b@stable", "v": 2}, {"name": "c@stable", "v": 2}]
    assert [(item["name"], item["v"]) for item in with_others(new, old)] == [
        ("a@stable", 1), ("b@stable", 2), ("c@stable", 2)]  # fmt: skip


# --- the module ---


def module(prefix: Path, state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("caelum_revision", {"state": state, "prefix": str(prefix), **more}, check=check)


def test_the_module_commits_discards_and_lists_without_secrets(revisions, tmp_path):
    deploy(revisions, 1, "v1.0.0")
    revisions.begin(2, release("v1.1.0"))
    mine: dict[str, Any] = {"service": "fincoll", "fencing_token": 2}
    assert module(tmp_path, "committed", check=True, **mine)["changed"] is True
    assert version(revisions) == "v1.0.0"
    done = module(tmp_path, "committed", **mine)
    assert (done["changed"], done["revision"]["number"], done["revision"]["version"]) == (True, 2, "v1.1.0")
    assert module(tmp_path, "committed", **mine)["changed"] is False
    revisions.begin(3, release("v1.2.0"))
    listed = module(tmp_path, "listed", services=["fincoll", "senvec"])
    of = listed["services"]["fincoll"]
    assert [of[key]["version"] for key in ("current", "previous", "pending")] == ["v1.1.0", "v1.0.0", "v1.2.0"]
    assert (of["fence"], of["committed"], of["brought"]) == (3, 0, 0)
    assert [(row["number"], row["previous"], row["action"]) for row in of["revisions"]] == [
        (2, 1, "deploy"), (1, None, "deploy")]  # fmt: skip
    assert listed["services"]["senvec"] == {
        "current": None, "previous": None, "pending": None, "fence": 0, "committed": 0, "brought": 0,
        "revisions": []}  # fmt: skip
    assert SECRET not in json.dumps([done, listed])
    gone = module(tmp_path, "discarded", service="fincoll", fencing_token=3)
    assert (gone["changed"], gone["revision"]["version"]) == (True, "v1.1.0")
    assert module(tmp_path, "discarded", service="fincoll", fencing_token=3)["changed"] is False


def test_a_deployment_brought_what_is_new_and_verified_what_was_there(revisions, tmp_path):
    def tokens() -> tuple[int, int]:
        of = module(tmp_path, "listed", service="fincoll")["services"]["fincoll"]
        return of["committed"], of["brought"]

    deploy(revisions, 1, "v1.0.0")
    assert tokens() == (1, 1)
    deploy(revisions, 2, "v1.0.0")
    assert tokens() == (2, 0)
    deploy(revisions, 3, "v1.1.0")
    assert tokens() == (3, 3)
    revisions.begin(4, revisions.wanted("previous"))
    revisions.commit(4)
    assert tokens() == (4, 0), "what a rollback returns to was there before"


def test_the_module_refuses_who_was_taken_over_also_in_check_mode(revisions, tmp_path):
    revisions.begin(2, release("v1.1.0"))
    revisions.fence(3)
    for check in (True, False):
        for state in ("committed", "discarded"):
            result = module(tmp_path, state, check=check, service="fincoll", fencing_token=2)
            assert "fencing token 3 was here since" in result["msg"]
    assert revisions.pending() is not None
