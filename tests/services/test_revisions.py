"""A real supervisord goes from release to release and back: what is recorded is what runs, whoever was killed when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.modules import run_module, run_playbook
from support.native_host import NativeHost, eventually, native_host

# isort: split
from ansible.module_utils.caelum.instance import tree
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.native import Native
from ansible.module_utils.caelum.instance.revisions import Fenced, Revisions, apply_revision
from ansible.module_utils.caelum.instance.supervisor_rpc import Client
from ansible.module_utils.caelum.slots import Switch

pytestmark = pytest.mark.services

STABLE, CANDIDATE = "fincoll@stable", "fincoll@candidate"
SECRET = "s3cret-of-fincoll"
forked = multiprocessing.get_context("fork")


@pytest.fixture
def host() -> Iterator[NativeHost]:
    with native_host() as made:
        for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
            made.release(version)
        yield made


def listed(host: NativeHost, version: str) -> dict[str, Any]:
    """FinColl of `version`, with a setting and a credential that change with it."""
    return host.instance(STABLE, version, environment={"OF": version}, credentials={"key.json": f"{SECRET}-{version}"})


def apply(host: NativeHost, token: int, version: str, *more: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The rollout of a release up to its commit."""
    instances = options.pop("instances", [listed(host, version), *more])
    recorded = {"version": version, "config": {"port": 8001}, "run": f"run {token}"}
    return host.apply(*instances, fencing_token=token, recorded=recorded, **options)


def settle(host: NativeHost, token: int, state: str = "committed") -> dict[str, Any]:
    """Commit or discard."""
    options = {"prefix": str(host.prefix), "state": state, "service": "fincoll", "fencing_token": token}
    result = run_module("caelum_revision", options)
    assert not result.get("failed"), result["msg"]
    return result


def deploy(host: NativeHost, token: int, version: str, *more: dict[str, Any], **options: Any) -> dict[str, Any]:
    result = apply(host, token, version, *more, **options)
    settle(host, token)
    return result


def roll_back(host: NativeHost, token: int) -> dict[str, Any]:
    result = host.apply(revision="rollback", fencing_token=token)
    settle(host, token)
    return result


def drift(host: NativeHost) -> list[str]:
    """Steps that would make the host what its current revision says."""
    steps: list[str] = host.apply(revision="current", check=True)["steps"]
    return steps


def serves(host: NativeHost, version: str) -> bool:
    """Whether code, settings and credentials are those of `version`."""
    said = host.ask(STABLE)
    return (said["release"], said["secrets"]) == (version, {"key.json": f"{SECRET}-{version}"}) and (
        f"OF={version}" in said["settings"]
    )


def revisions(host: NativeHost) -> Revisions:
    return Revisions(host.prefix, "fincoll")


def test_a_host_goes_forward_and_back_with_code_settings_and_credentials(host):
    deploy(host, 1, "v1.0.0")
    deploy(host, 2, "v1.1.0")
    result = deploy(host, 3, "v1.2.0")
    assert (result["revision"]["version"], result["revision"]["number"]) == ("v1.2.0", None)
    assert serves(host, "v1.2.0")
    for token, version in ((4, "v1.1.0"), (5, "v1.0.0")):
        planned = host.apply(revision="rollback", check=True)
        done = roll_back(host, token)
        assert done["steps"] == planned["steps"]
        assert done["revision"] == planned["revision"]
        assert (done["revision"]["version"], done["revision"]["config"]) == (version, {"port": 8001})
        assert serves(host, version)
        assert drift(host) == []
    refused = host.attempt(revision="rollback", fencing_token=6)
    assert refused["msg"].startswith("fincoll has no earlier release on this host to return to; deploy the version")
    assert serves(host, "v1.0.0")
    assert SECRET not in str([result, done, planned])


def test_check_mode_writes_and_locks_nothing(host):
    apply(host, 1, "v1.0.0", check=True)
    assert not (host.prefix / "var").exists()
    deploy(host, 1, "v1.0.0")
    apply(host, 2, "v1.1.0", check=True)
    assert revisions(host).pending() is None
    with revisions(host).locked():
        assert drift(host) == []


DRIFTS: dict[str, Callable[[NativeHost], object]] = {
    "a file edited by hand": lambda host: (host.prefix / f"etc/caelum/{STABLE}.env").write_text("OF=hand\n"),
    "a credential gone": lambda host: (host.prefix / f"etc/caelum/credentials/{STABLE}/key.json").unlink(),
    "a slot that points elsewhere": lambda host: Switch(
        host.prefix / f"opt/caelum/fincoll/slots/{STABLE}", "v1.0.0"
    ).apply(),
    "a stopped component": lambda host: Client(host.prefix / "run/supervisor.sock").insist(
        ("supervisor.stopProcess", STABLE, True)
    ),
    "old code": lambda host: host.release("v1.1.1").joinpath("manifest.json").rename(
        host.prefix / "opt/caelum/fincoll/releases/v1.1.0/manifest.json"
    ),
    "an instance nobody recorded": lambda host: host.apply(listed(host, "v1.1.0"), host.instance(CANDIDATE)),
    "a folder that is open": lambda host: (host.prefix / "etc/caelum/credentials").chmod(0o777),
}  # fmt: skip


@pytest.mark.parametrize("what", DRIFTS)
def test_drift_from_the_revision_shows_as_it_does_from_listed_instances_and_is_mended(host, what):
    folders = [{"path": "var/lib/caelum/fincoll", "mode": "0750"}]
    deploy(host, 1, "v1.0.0", directories=folders)
    deploy(host, 2, "v1.1.0", directories=folders)
    assert drift(host) == []
    DRIFTS[what](host)
    seen = host.apply(revision="current", directories=folders, check=True)
    expected = host.apply(listed(host, "v1.1.0"), directories=folders, check=True)
    assert seen["changed"], what
    for key in ("steps", "diff", "instances"):
        assert seen[key] == expected[key]
    host.apply(revision="current", directories=folders)
    assert serves(host, "v1.1.0")
    assert drift(host) == []


# --- killed in between ---


POINTS = {
    "before the first step": (tree, "make_directory"),
    "before the files": (tree, "write_file"),
    "before the switch": (Switch, "apply"),
    "before the restart": (Native, "replace"),
    "between stop and start": (Native, "programs"),
}


def killed_rollout(host: NativeHost, where: tuple[Any, str], token: int) -> None:
    """A rollout of v1.2.0 by a process of its own that is killed there."""

    def rollout() -> None:
        real, left = getattr(*where), ["the plan's own"] if where[1] == "programs" else []

        def call_or_die(*arguments: Any) -> Any:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
            return real(*arguments)

        setattr(*where, call_or_die)
        folders = [{"path": "var/lib/caelum/new", "mode": "0750"}]
        apply(host, token, "v1.2.0", host.instance(CANDIDATE, "v1.2.0"), directories=folders)

    process = forked.Process(target=rollout)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_a_rollout_killed_anywhere_is_known_and_taken_back_to_the_last_good_release(host, point):
    deploy(host, 1, "v1.0.0")
    deploy(host, 2, "v1.1.0")
    killed_rollout(host, POINTS[point], 3)
    left = revisions(host)
    assert left.pending().version == "v1.2.0"
    assert left.current().version == "v1.1.0"

    layout = Layout(host.prefix)
    apply_revision(layout, Native(layout), left, left.current(), token=4)
    assert serves(host, "v1.1.0")
    assert not apply_revision(layout, Native(layout), left, left.current(), token=4, check=True)
    assert left.discard(4) is True
    assert (left.pending(), left.numbers()) == (None, [1, 2])
    assert not list(host.prefix.glob(f"etc/caelum/{CANDIDATE}*"))
    late = host.attempt(listed(host, "v1.2.0"), fencing_token=3, recorded={"version": "v1.2.0"})
    assert "fencing token 4 was here since, this deployment has 3" in late["msg"]
    deploy(host, 5, "v1.2.0")
    assert serves(host, "v1.2.0")


def test_a_rollback_after_a_killed_rollout_returns_to_what_was_live(host):
    deploy(host, 1, "v1.0.0")
    deploy(host, 2, "v1.1.0")
    killed_rollout(host, POINTS["before the restart"], 3)
    assert roll_back(host, 4)["revision"]["version"] == "v1.1.0"
    assert serves(host, "v1.1.0")
    assert roll_back(host, 5)["revision"]["version"] == "v1.0.0"
    assert serves(host, "v1.0.0")


def test_a_first_rollout_that_was_killed_has_nothing_to_return_to_and_the_next_ends_clean(host):
    killed_rollout(host, POINTS["before the switch"], 1)
    for which in ("rollback", "current"):
        assert "has no " in host.attempt(revision=which, fencing_token=2)["msg"]
    deploy(host, 2, "v1.0.0")
    assert serves(host, "v1.0.0")
    assert revisions(host).numbers() == [1]


def test_a_release_that_is_taken_back_by_its_own_run_is_not_recorded(host):
    deploy(host, 1, "v1.0.0")
    apply(host, 2, "v1.1.0")
    host.apply(revision="current", fencing_token=2)
    assert serves(host, "v1.0.0")
    assert revisions(host).pending() is not None
    settle(host, 2)
    assert (revisions(host).pending(), revisions(host).numbers()) == (None, [1])


# --- refused before anything changes ---


def test_who_was_taken_over_changes_nothing(host):
    deploy(host, 5, "v1.0.0")
    pid = host.ask(STABLE)["pid"]
    recorded = {"version": "v1.1.0"}
    for check in (True, False):
        late = host.attempt(listed(host, "v1.1.0"), fencing_token=4, recorded=recorded, check=check)
        assert late["msg"].startswith("fincoll on this host was taken over: fencing token 5 was here since")
    layout = Layout(host.prefix)
    with pytest.raises(Fenced):
        apply_revision(layout, Native(layout), revisions(host), revisions(host).current(), token=4)
    assert (host.ask(STABLE)["pid"], drift(host), revisions(host).pending()) == (pid, [], None)


def test_a_plan_that_cannot_work_leaves_nothing_pending(host):
    deploy(host, 1, "v1.0.0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = host.instance(STABLE, "v1.1.0", port=server.getsockname()[1], port_variable="fincoll_port")
        refused = host.attempt(taken, fencing_token=2, recorded={"version": "v1.1.0"})
    assert "fincoll_port" in refused["msg"]
    missing = host.attempt(listed(host, "v9.0.0"), fencing_token=2, recorded={"version": "v9.0.0"})
    assert "release 'v9.0.0' is not complete" in missing["msg"]
    assert (revisions(host).pending(), drift(host)) == (None, [])


ODD: list[tuple[dict[str, Any], str]] = [
    (
        {"revision": "current", "services": ["fincoll", "pim"]},
        "revision=current is about one service; name exactly one",
    ),
    ({"recorded": {"version": "v1.0.0"}, "fencing_token": 1, "services": []}, "recorded is about one service"),
    ({"revision": "current", "keep_others": True}, "leave out instances, keep_others and recorded"),
    ({"recorded": {"version": "v1.0.0"}}, "recorded needs fencing_token; give the one that caelum_deployment returned"),
    ({"revision": "previous"}, "revision=previous needs fencing_token; "),
    ({"fencing_token": 1}, "fencing_token marks what is applied as pending; add recorded, or revision"),
    ({"fencing_token": -1, "revision": "current"}, "fencing_token is -1; give the one"),
    ({"state": "stopped", "fencing_token": 1}, "state=stopped records nothing; leave out fencing_token"),
    ({"revision": "current"}, "fincoll has no recorded release on this host; deploy it first with `ansible-playbook"),
]


@pytest.mark.parametrize(("options", "line"), ODD)
def test_options_that_do_not_go_together_are_refused_in_one_line(tmp_path, options, line):
    scope = {} if "state" in options else {"services": ["fincoll"]}
    message = run_module("caelum_instance", {"prefix": str(tmp_path / "p"), **scope, **options})["msg"]
    assert line in message
    assert "\n" not in message
    assert not (tmp_path / "p/etc").exists()


# --- one component alone ---


def test_others_of_the_service_are_kept_as_they_were_recorded_and_go_back_with_it(host):
    deploy(host, 1, "v1.0.0", host.instance(CANDIDATE))
    other = host.ask(CANDIDATE)["pid"]
    (host.prefix / f"etc/caelum/{CANDIDATE}.env").write_text("BY=hand\n")
    result = deploy(host, 2, "v1.1.0", keep_others=True)
    assert [(one["name"], one["release"]) for one in result["revision"]["instances"]] == [
        (STABLE, "v1.1.0"), (CANDIDATE, "v1.0.0")]  # fmt: skip
    assert serves(host, "v1.1.0")
    said = eventually(lambda: (now := host.ask(CANDIDATE))["pid"] != other and now, "the other, as it was recorded")
    assert (said["release"], "LOG_LEVEL=INFO" in said["settings"]) == ("v1.0.0", True)
    assert drift(host) == []
    roll_back(host, 3)
    assert serves(host, "v1.0.0")
    assert host.ask(CANDIDATE)["pid"] == said["pid"]


def test_others_that_no_record_knows_are_not_removed_by_mistake(host):
    host.apply(host.instance(STABLE), host.instance(CANDIDATE))
    pid = host.ask(CANDIDATE)["pid"]
    for more in ({}, {"fencing_token": 1, "recorded": {"version": "v1.1.0"}}):
        refused = host.attempt(host.instance(STABLE, "v1.1.0"), keep_others=True, **more)
        assert refused["msg"].startswith(f"{CANDIDATE} of fincoll cannot be kept: this host has no record of a whole")
    assert host.ask(CANDIDATE)["pid"] == pid
    host.apply(host.instance(STABLE), host.instance(CANDIDATE), keep_others=True)


def test_records_go_with_the_deployment(host):
    deploy(host, 1, "v1.0.0")
    host.apply(state="stopped")
    assert revisions(host).current() is not None
    planned = host.apply(state="absent", check=True)
    assert f"remove {host.prefix}/var/lib/caelum/revisions with all it holds" in planned["steps"]
    done = host.apply(state="absent")
    assert done["steps"] == planned["steps"]
    assert done["warnings"] == []
    assert [path for path in host.prefix.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_under_ansible_no_credential_is_shown_on_the_way_back(host, tmp_path):
    deploy(host, 1, "v1.0.0")
    deploy(host, 2, "v1.1.0")
    prefix = str(host.prefix)
    tasks: list[dict[str, Any]] = [
        {"caelum_instance": {"prefix": prefix, "services": ["fincoll"], "revision": "rollback", "fencing_token": 3}},
        {"caelum_revision": {"prefix": prefix, "state": "committed", "service": "fincoll", "fencing_token": 3}},
        {"caelum_revision": {"prefix": prefix, "state": "listed", "services": ["fincoll"]}},
    ]
    done = run_playbook(tmp_path, tasks, "--diff", "-vvv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    assert serves(host, "v1.0.0")


def test_a_release_that_was_pruned_is_named_and_the_present_one_serves_on(host):
    deploy(host, 1, "v1.0.0")
    deploy(host, 2, "v1.1.0")
    Path(host.prefix, "opt/caelum/fincoll/releases/v1.0.0/manifest.json").unlink()
    refused = host.attempt(revision="rollback", fencing_token=3)
    assert "release 'v1.0.0' is not complete on this host" in refused["msg"]
    assert serves(host, "v1.1.0")
    assert revisions(host).pending() is None
