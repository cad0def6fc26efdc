"""The runtime `native` with a real supervisord: what the module says is what happens, and nothing else is touched."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.modules import run_playbook
from support.native_host import NativeHost, alive, eventually, native_host, open_to_all

pytestmark = pytest.mark.services

STABLE, CANDIDATE = "fincoll@stable", "fincoll@candidate"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs instances as other users")


@pytest.fixture
def host() -> Iterator[NativeHost]:
    with native_host() as made:
        made.release("v1.0.0")
        made.release("v1.1.0")
        yield made


def rows(result: dict) -> dict[str, dict]:
    """The module's rows by instance."""
    return {row["name"]: row for row in result["instances"]}


def tree(prefix: Path) -> dict[str, str]:
    """Everything under the prefix but logs: links' targets, files' content, folders' permissions."""

    def what(path: Path) -> str:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_text() if path.is_file() else oct(path.stat().st_mode)

    return {
        str(path): what(path)
        for path in sorted(prefix.rglob("*"))
        if "log" not in path.parts and not path.is_socket() and path.suffix != ".pyc"
    }


def test_instances_run_with_their_settings_and_credentials_and_a_second_run_changes_nothing(host):
    wanted = [host.instance(STABLE, credentials={"key.json": "s3cret"}), host.instance(CANDIDATE)]
    first = host.apply(*wanted, directories=[{"path": "var/lib/caelum/fincoll", "mode": "0750"}])
    assert first["changed"]
    said = host.ask(STABLE)
    assert said["secrets"] == {"key.json": "s3cret"}
    assert "LOG_LEVEL=INFO" in said["settings"]
    assert said["pid"] == rows(first)[STABLE]["pid"]
    assert "s3cret" not in str(first)
    modes = {
        path: oct((host.prefix / path).stat().st_mode & 0o777)
        for path in (
            "etc/caelum/fincoll@stable.env", "etc/caelum/credentials/fincoll@stable",
            "etc/caelum/credentials/fincoll@stable/key.json", "run/supervisor.sock", "var/lib/caelum/fincoll",
        )
    }  # fmt: skip
    assert list(modes.values()) == ["0o640", "0o700", "0o600", "0o700", "0o750"]

    began = time.monotonic()
    second = host.apply(*wanted, directories=[{"path": "var/lib/caelum/fincoll", "mode": "0750"}])
    assert time.monotonic() - began < 1
    assert (second["changed"], second["steps"], second["diff"]) == (False, [], [])
    assert rows(second)[STABLE]["pid"] == said["pid"]


def test_nothing_of_the_callers_environment_reaches_an_instance(host, monkeypatch):
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD", "s3cret")
    host.apply(host.instance(STABLE))
    assert "ANSIBLE_VAULT_PASSWORD" not in host.ask(STABLE)["environment"]


def test_a_changed_setting_restarts_that_instance_alone(host):
    host.apply(host.instance(STABLE), host.instance(CANDIDATE))
    before = {name: host.ask(name)["pid"] for name in (STABLE, CANDIDATE)}
    daemon = host.daemon()
    result = host.apply(host.instance(STABLE), host.instance(CANDIDATE, environment={"LOG_LEVEL": "DEBUG"}))
    assert rows(result)[CANDIDATE]["changes"] == ["environment", "restart"]
    assert host.ask(STABLE)["pid"] == before[STABLE]
    eventually(lambda: "LOG_LEVEL=DEBUG" in host.ask(CANDIDATE)["settings"], "the new setting")
    assert host.ask(CANDIDATE)["pid"] != before[CANDIDATE]
    assert host.daemon() == daemon


def test_a_running_process_keeps_its_release_until_the_switch_restarts_it(host):
    host.apply(host.instance(STABLE))
    assert host.ask(STABLE)["environment"]["CAELUM_RELEASE"].endswith("/v1.0.0")
    slot = host.prefix / "opt/caelum/fincoll/slots/fincoll@stable"
    slot.unlink()
    slot.symlink_to("../releases/v1.1.0")
    assert host.ask(STABLE)["release"] == "v1.0.0", "a late import must come from the process's own release"

    result = host.apply(host.instance(STABLE, "v1.1.0"))
    assert rows(result)[STABLE]["changes"] == ["restart, it runs release v1.0.0"]
    assert host.ask(STABLE)["release"] == "v1.1.0"
    result = host.apply(host.instance(STABLE, "v1.0.0"))
    assert rows(result)[STABLE]["changes"] == ["release v1.1.0 -> v1.0.0", "restart"]
    assert host.ask(STABLE)["release"] == "v1.0.0"
    assert not host.apply(host.instance(STABLE, "v1.0.0"))["changed"]


def test_a_run_that_ended_before_the_restart_is_made_good(host):
    """The files are as they should be, the process is not: only its own environment tells."""
    host.apply(host.instance(STABLE))
    old = host.ask(STABLE)["pid"]
    wanted = host.instance(STABLE, environment={"LOG_LEVEL": "DEBUG"})
    planned = host.apply(wanted, check=True)
    for change in planned["diff"]:
        path = Path(change["after_header"])
        if path.suffix == ".env":
            path.write_text(change["after"])
    result = host.apply(wanted)
    assert "restart, it runs with older settings or an older build" in str(rows(result)[STABLE]["changes"])
    assert host.ask(STABLE)["pid"] != old
    assert not host.apply(wanted)["changed"]


def test_what_is_no_longer_listed_is_stopped_and_removed_and_other_services_are_left(host):
    host.release("v1.0.0", "senvec")
    other = host.instance("news@stable", service="senvec")
    host.apply(other, services=["senvec"])
    host.apply(host.instance(STABLE), host.instance(CANDIDATE, credentials={"key.json": "1"}))
    pids = {name: host.ask(name)["pid"] for name in (STABLE, CANDIDATE, "news@stable")}
    result = host.apply(host.instance(STABLE))
    assert rows(result)[CANDIDATE] == {"name": CANDIDATE, "changes": ["removed"]}
    assert not alive(pids[CANDIDATE])
    assert not [path for path in host.prefix.rglob(f"{CANDIDATE}*") if path.suffix != ".log"]
    assert host.ask("news@stable")["pid"] == pids["news@stable"]
    assert host.ask(STABLE)["pid"] == pids[STABLE]
    assert not host.apply(host.instance(STABLE))["changed"]


def test_exit_78_is_started_once_and_reported_and_started_again_by_the_next_run(host):
    line = "import sys; print('no champion', flush=True); sys.exit(78)"
    wanted = host.instance(STABLE, command=["{python}", "-c", line], port=None)

    def exited() -> dict:
        row = rows(host.apply(wanted, check=True))[STABLE]
        return row if row.get("state") == "exited" else {}

    host.apply(wanted)
    row = eventually(exited, "the end of the process")
    assert (row["changes"], row["exit_status"]) == (["start, it was exited"], 78)
    time.sleep(1.5)  # longer than supervisord's tick: a restart loop would have shown itself
    assert host.log(STABLE).count("no champion") == 1

    host.apply(wanted)
    eventually(lambda: host.log(STABLE).count("no champion") == 2, "the start by the next run")
    eventually(exited, "the end of the second process")
    time.sleep(1.5)
    assert host.log(STABLE).count("no champion") == 2


def test_a_process_that_crashes_is_restarted(host):
    host.apply(host.instance(STABLE))
    pid = host.ask(STABLE)["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: host.ask(STABLE)["pid"] != pid, "another process")
    assert not host.apply(host.instance(STABLE))["changed"]


def test_a_taken_port_is_refused_before_anything_changes(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = tree(host.prefix)
        result = host.attempt(host.instance(STABLE, port=port))
        assert result["msg"].startswith(f"{STABLE} cannot listen on port {port} of 127.0.0.1: ")
        assert f"(pid {os.getpid()}) has it" in result["msg"]
        assert "set fincoll_port to a free port" in result["msg"]
        assert tree(host.prefix) == before


def test_a_port_of_an_instance_that_stays_is_refused_and_one_that_goes_hands_it_over(host):
    host.apply(host.instance(STABLE))
    host.ask(STABLE)
    host.ports[CANDIDATE] = host.ports[STABLE]
    refused = host.attempt(host.instance(CANDIDATE), services=["fincoll"], instances=[
        {**host.instance(STABLE), "port": None}, host.instance(CANDIDATE)])  # fmt: skip
    assert f"which runs as instance {STABLE}" in refused["msg"]
    host.apply(host.instance(CANDIDATE))
    assert host.ask(CANDIDATE)["environment"]["SUPERVISOR_PROCESS_NAME"] == CANDIDATE


def test_a_killed_supervisord_is_healed_and_leaves_no_orphan(host):
    wanted = [host.instance(STABLE), host.instance(CANDIDATE)]
    host.apply(*wanted)
    orphans = [host.ask(name)["pid"] for name in (STABLE, CANDIDATE)]
    daemon = host.daemon()
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: not alive(daemon), "the end of supervisord")
    assert all(map(alive, orphans))
    assert (host.prefix / "run/supervisor.sock").is_socket()

    planned = host.apply(*wanted, check=True)
    assert all(map(alive, orphans))
    result = host.apply(*wanted)
    assert result["steps"] == planned["steps"]
    assert f"end {STABLE}, pid {orphans[0]}, which nothing supervises" in result["steps"]
    assert not any(map(alive, orphans))
    assert {host.ask(name)["pid"] for name in (STABLE, CANDIDATE)}.isdisjoint(orphans)
    assert not host.apply(*wanted)["changed"]


def test_a_supervisord_whose_socket_was_removed_is_replaced(host):
    host.apply(host.instance(STABLE))
    pid, daemon = host.ask(STABLE)["pid"], host.daemon()
    (host.prefix / "run/supervisor.sock").unlink()
    host.apply(host.instance(STABLE))
    assert not alive(pid)
    assert not alive(daemon)
    assert host.ask(STABLE)["pid"] != pid


def test_check_mode_changes_nothing_and_predicts_what_happens(host):
    before = tree(host.prefix)
    wanted = host.instance(STABLE, credentials={"key.json": "s3cret"})
    for want in (wanted, {**wanted, "release": "v1.1.0"}, host.instance(CANDIDATE), {**wanted, "state": "stopped"}):
        planned = host.apply(want, check=True)
        assert tree(host.prefix) == before
        done = host.apply(want)
        assert (done["steps"], done["diff"], done["changed"]) == (planned["steps"], planned["diff"], True)
        assert {name: row["changes"] for name, row in rows(done).items()} == {
            name: row["changes"] for name, row in rows(planned).items()
        }
        assert not host.apply(want, check=True)["changed"]
        before = tree(host.prefix)


def test_check_mode_takes_releases_of_earlier_tasks_as_made_and_a_run_does_not(host):
    before = tree(host.prefix)
    wanted = host.instance(STABLE, "v2.0.0")
    planned = host.apply(wanted, check=True, releases_follow=True)
    assert f"switch {STABLE} from nothing to v2.0.0" in planned["steps"]
    for check, follow in ((True, False), (False, True)):
        refusal = host.attempt(wanted, check=check, releases_follow=follow)["msg"]
        assert "release 'v2.0.0' is not complete on this host" in refusal
    assert tree(host.prefix) == before
    host.apply(host.instance(STABLE))
    host.release("v2.0.0")
    with_release = host.apply(wanted, check=True)
    assert host.apply(wanted, check=True, releases_follow=True)["steps"] == with_release["steps"]
    assert f"switch {STABLE} from v1.0.0 to v2.0.0" in with_release["steps"]


@needs_root
def test_check_mode_takes_a_user_of_an_earlier_task_as_made(host):
    wanted = host.instance(STABLE, "v2.0.0", user="no-such-user", credentials={"key.json": "1"})
    folders = [{"path": "var/lib/caelum/fincoll", "owner": "no-such-user"}]
    assert host.apply(wanted, check=True, releases_follow=True, directories=folders)["changed"]
    assert "does not exist" in host.attempt(wanted, releases_follow=True)["msg"]


def test_a_purge_stops_everything_and_removes_all_of_it(host):
    host.apply(host.instance(STABLE, credentials={"key.json": "1"}),
               directories=[{"path": "var/lib/caelum/fincoll"}])  # fmt: skip
    pids = [host.ask(STABLE)["pid"], host.daemon()]
    planned = host.apply(state="absent", purge=True, check=True)
    assert all(map(alive, pids))
    done = host.apply(state="absent", purge=True)
    assert done["steps"] == planned["steps"]
    assert rows(done)[STABLE]["changes"] == ["stop", "removed"]
    assert not any(map(alive, pids))
    assert not host.prefix.exists()
    assert not host.apply(state="absent", purge=True)["changed"]


def test_an_instance_can_be_stopped_and_started(host):
    host.apply(host.instance(STABLE))
    pid = host.ask(STABLE)["pid"]
    result = host.apply(host.instance(STABLE, state="stopped"))
    assert rows(result)[STABLE]["state"] == "stopped"
    assert not alive(pid)
    result = host.apply(host.instance(STABLE))
    assert rows(result)[STABLE]["changes"] == ["program", "start"]
    assert host.ask(STABLE)["pid"] != pid


def test_stopped_ends_everything_by_priority_and_present_brings_it_back(host):
    line = "import signal, sys, time; told = lambda *_: (open(sys.argv[1], 'a').write(sys.argv[2]), sys.exit())"
    order = host.prefix / "order"
    command = [
        "{python}",
        "-c",
        f"{line}; signal.signal(15, told); print('up', flush=True); time.sleep(600)",
        str(order),
    ]
    wanted = [
        host.instance(STABLE, command=[*command, "database "], port=None, priority=10),
        host.instance(CANDIDATE, command=[*command, "service "], port=None, priority=500),
    ]
    host.apply(*wanted)
    eventually(lambda: all("up" in host.log(name) for name in (STABLE, CANDIDATE)), "both up")
    daemon = host.daemon()
    assert host.apply(state="stopped", check=True)["changed"]
    assert alive(daemon)
    host.apply(state="stopped")
    assert order.read_text() == "service database "
    assert not alive(daemon)
    assert not host.apply(state="stopped")["changed"]
    assert host.apply(*wanted)["changed"]
    assert host.daemon() != daemon


def test_a_process_that_ignores_its_signal_is_killed_in_bounded_time(host):
    line = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    result = host.apply(host.instance(STABLE, command=["{python}", "-c", line], port=None, stop_wait=1))
    eventually(lambda: "deaf" in host.log(STABLE), "the process")
    began = time.monotonic()
    host.apply(state="stopped")
    assert time.monotonic() - began < 8
    assert not alive(rows(result)[STABLE]["pid"])


def test_a_supervisord_that_hangs_is_named_and_stopped_gets_rid_of_it(host):
    line = "import signal, sys, time; signal.signal(15, lambda *_: (open(sys.argv[1], 'w'), sys.exit()))"
    tidied = str(host.prefix / "tidied")
    command = ["{python}", "-c", f"{line}; print('up', flush=True); time.sleep(600)", tidied]
    wanted = host.instance(STABLE, command=command, port=None)
    pid = rows(host.apply(wanted))[STABLE]["pid"]
    eventually(lambda: "up" in host.log(STABLE), "the process")
    daemon = host.daemon()
    os.kill(daemon, signal.SIGSTOP)
    assert "did not answer within 5 s" in host.attempt(wanted)["msg"]
    assert alive(pid)
    host.apply(state="stopped")
    assert not alive(daemon)
    assert not alive(pid)
    assert (host.prefix / "tidied").exists(), "its children get their own signal before any KILL"


def test_absent_leaves_releases_and_data_and_nothing_of_its_own(host):
    host.release("v1.0.0", "senvec")
    host.apply(host.instance("news@stable", service="senvec"), services=["senvec"])
    data = host.prefix / "var/lib/caelum/fincoll/state.db"
    host.apply(host.instance(STABLE, credentials={"key.json": "1"}),
               directories=[{"path": "var/lib/caelum/fincoll"}])  # fmt: skip
    data.touch()
    pids = [host.ask(name)["pid"] for name in (STABLE, "news@stable")]
    host.apply(state="absent")
    assert not any(map(alive, pids))
    left = {str(path.relative_to(host.prefix)) for path in host.prefix.rglob("*")}
    assert "opt/caelum/fincoll/releases/v1.0.0/manifest.json" in left
    assert "var/lib/caelum/fincoll/state.db" in left
    assert not [path for path in left if path.startswith(("etc", "run", "var/log")) or "slots" in path]
    assert not host.apply(state="absent")["changed"]


@needs_root
def test_an_instance_runs_as_its_user_and_reads_its_credentials(host):
    pythons = [path for path in (sys.executable, "/usr/bin/python3") if open_to_all(path)]
    if not pythons:
        pytest.skip(f"no Python that the user nobody can reach: not {sys.executable}, not /usr/bin/python3")
    nobody = pwd.getpwnam("nobody")
    host.release("v1.2.0", python=pythons[0])
    wanted = host.instance(STABLE, "v1.2.0", user="nobody", credentials={"key.json": "s3cret"})
    host.apply(wanted)
    said = host.ask(STABLE)
    assert (said["uid"], said["secrets"]) == (nobody.pw_uid, {"key.json": "s3cret"})
    assert not host.apply(wanted)["changed"]


@needs_root
def test_a_folder_that_the_user_cannot_enter_is_named(host):
    (host.prefix / "opt").chmod(0o700)
    message = host.attempt(host.instance(STABLE, user="nobody"))["msg"]
    assert f"user nobody cannot enter {host.prefix}/opt on the way to" in message
    assert f"`chmod o+x {host.prefix}/opt`" in message


def test_a_user_that_cannot_be_is_refused(host):
    message = host.attempt(host.instance(STABLE, user="no-such-user"))["msg"]
    assert ("does not exist" in message) if os.geteuid() == 0 else ("only root" in message)


def test_the_module_runs_under_ansible_without_showing_credentials_or_hanging(host, tmp_path):
    wanted = host.instance(STABLE, credentials={"key.json": "s3cret"})
    task = {"caelum_instance": {"prefix": str(host.prefix), "services": ["fincoll"], "instances": [wanted]}}
    first = run_playbook(tmp_path, [task], "--diff", "-vvv")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=1" in first.stdout
    assert "LOG_LEVEL=INFO" in first.stdout
    assert "s3cret" not in first.stdout + first.stderr
    assert host.ask(STABLE)["secrets"] == {"key.json": "s3cret"}
    assert "changed=0" in run_playbook(tmp_path, [task]).stdout
