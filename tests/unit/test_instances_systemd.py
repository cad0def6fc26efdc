"""Texts of units, and what a plan makes of them: nothing here needs a systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance import detached, systemd_units
from ansible.module_utils.caelum.instance.accounts import Account
from ansible.module_utils.caelum.instance.instances import Instance, parse
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.native import Native
from ansible.module_utils.caelum.instance.runtime import fingerprint
from ansible.module_utils.caelum.instance.systemd import Systemd
from ansible.module_utils.caelum.instance.tree import link, look, plan_files, write_file
from ansible.module_utils.caelum.instance.unit_options import Timer, UnitOptions

USER = Account("caelum-fincoll", 990, 990, "/nonexistent")
SLOT = Path("/opt/caelum/fincoll/slots/fincoll@stable")


def made(name: str = "fincoll@stable", service: str = "fincoll", **more: Any) -> Instance:
    """An instance with a user of its own."""
    options = UnitOptions(**{"unit": name, **more.pop("options", {})})
    command = ("{python}", "-m", "fincoll.server")
    return Instance(name, service, "v1.0.0", command, user=USER, options=options, **more)


def text(instance: Instance) -> str:
    """Its service unit."""
    return systemd_units.service(instance, Layout(Path("/")), SLOT, "abc")


def test_dollar_and_percent_of_a_command_reach_the_shell_as_they_are():
    said = text(Instance("a@b", "a", "v1", ("echo", '50% of $HOME "quoted"'), user=USER))
    command = next(line for line in said.splitlines() if line.startswith("ExecStart="))
    assert "50%% of $$HOME" in command
    assert '\\"quoted\\"' in command


def test_credentials_are_handed_over_by_path_and_stand_in_no_unit():
    instance = made(credentials={"token": "s3cret"})
    assert "LoadCredential=token:/etc/caelum/credentials/fincoll@stable/token" in text(instance)
    assert "s3cret" not in text(instance)
    (first, *_) = Systemd(Layout(Path("/"))).definition(instance, fingerprint(instance, "", ""))
    assert "s3cret" not in first.content


def test_a_socket_goes_with_a_port_and_takes_bind_away_from_the_service():
    instance = made(port=8001, options={"socket": True})
    assert "SystemCallFilter=~bind" in text(instance)
    assert "ListenStream=127.0.0.1:8001" in systemd_units.socket(instance)
    alone = made(port=8001, options={"socket": False})
    assert "SystemCallFilter=~bind" not in text(alone)
    assert "bind(2) stays allowed" in text(alone)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"memory_max": "1G"}, "MemoryMax=1G"),
        ({"slice": "caelum-senvec.slice", "memory_max": "1G"}, "Slice=caelum-senvec.slice"),
        ({"cpu_quota": "150%"}, "CPUQuota=150%"),
        ({"devices": ("/dev/nvidia*",)}, "DeviceAllow=char-nvidia* rw"),
        ({"writable": ("/srv/x",)}, "ReadWritePaths=-/srv/x"),
    ],
)
def test_options_become_lines(options, line):
    assert line in text(made(options=options)).splitlines()


def test_a_slice_has_one_limit():
    one = made(options={"slice": "caelum-x.slice", "memory_max": "1G"})
    other = made("fincoll@candidate", options={"slice": "caelum-x.slice", "memory_max": "2G"})
    assert "MemoryMax=1G" in systemd_units.slice_("caelum-x.slice", [one])
    with pytest.raises(Refused, match=r"memory_max 1G and 2G, of fincoll@candidate, fincoll@stable; give one"):
        systemd_units.slice_("caelum-x.slice", [one, other])


def test_an_instance_without_a_user_is_refused():
    with pytest.raises(Refused, match="instance a@b has no user"):
        text(Instance("a@b", "a", "v1", ("true",)))


def test_who_writes_the_share_gets_nothing_else_of_it_and_none_of_its_credentials():
    said = text(made(environment={"CAELUM_SHARE": "/home/x/ss"}, options={"writable": ("/home/x/ss/checkpoints",)}))
    assert "BindReadOnlyPaths=-/home/x/ss" in said
    assert "ReadWritePaths=-/home/x/ss/checkpoints" in said
    assert "InaccessiblePaths=-/home/x/ss/.tradestation_token.json" in said


def test_a_share_that_hangs_keeps_nobody_from_starting_who_only_reads_it_or_not_even_that():
    for environment in ({"CAELUM_SHARE": "/home/x/ss"}, {}):
        lines = text(made(environment=environment)).splitlines()
        assert not [line for line in lines if "/home/x/ss" in line and not line.startswith("#")]


def test_a_job_has_a_timer_and_a_limit_and_is_not_restarted():
    timer = Timer("Mon..Fri 18:00 America/New_York", randomized_delay="10min", runtime_max="6h")
    job = made("finvec-train@llm1", "finvec", kind="job", options={"timer": timer})
    assert "RuntimeMaxSec=6h" in text(job)
    assert "Restart=" not in text(job)
    assert "MemoryDenyWriteExecute=yes" not in text(job)
    names = [file.path.name for file in Systemd(Layout(Path("/"))).definition(job, "m")]
    assert names == ["finvec-train@llm1.service", "finvec-train@llm1.timer", "finvec-train@llm1.timer"]
    assert Native(Layout(Path("/"))).definition(job, "m") == ()


def test_a_stopped_instance_is_not_enabled():
    files = Systemd(Layout(Path("/"))).definition(made(state="stopped"), "m")
    assert [file.link for file in files] == [False]


def test_a_unit_file_says_whose_it_is_and_others_are_nobodys():
    known = systemd_units.facts(text(made(priority=400)))
    assert known is not None
    assert (known.instance, known.service, known.priority, known.starts) == ("fincoll@stable", "fincoll", 400, True)
    assert systemd_units.facts("[Unit]\nDescription=Somebody's\n") is None


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"memory_max": "lots"}, "memory_max is 'lots', which systemd would not read"),
        ({"writable": ["relative"]}, "writable has 'relative'; give absolute paths"),
        ({"socket": True}, "socket is true and it has no port"),
        ({"timer": {"calendar": "daily"}}, "a timer starts jobs; add kind: job"),
        ({"unit": "a b"}, "unit is 'a b'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(more, line):
    item: dict[str, Any] = {
        "name": "a@b", "service": "a", "release": "v1", "command": ["x"], "environment": {}, "credentials": {},
        "address": "127.0.0.1", "port": None, "port_variable": None, "user": None, "stop_signal": "TERM",
        "stop_wait": 5, "state": "started", "kind": "service", "priority": 500,
    }  # fmt: skip
    assert parse([item], ["a"])[0].unit == "a@b"
    with pytest.raises(Refused) as refused:
        parse([item | more], ["a"])
    assert line in str(refused.value)


def test_a_link_is_made_once_and_made_right(tmp_path):
    want = link(tmp_path / "x.wants/unit", Path("/etc/unit"))
    write_file(want)
    found = look(want.path, read=True, link=True)
    assert found is not None
    assert plan_files([want], {want.path: found}) == ()
    want.path.unlink()
    want.path.write_text("no link")
    wrong = look(want.path, read=True, link=True)
    assert wrong is not None
    assert plan_files([want], {want.path: wrong})
    write_file(want)
    assert want.path.readlink() == Path("/etc/unit")


def test_what_outlives_its_unit_runs_in_one_of_its_own():
    words = detached.command("caelum-reaper-round", ["/x/python", "-m", "y"], {"A": "b"}, ["/etc/caelum"])
    assert words[-4:] == ["--", "/x/python", "-m", "y"]
    assert "--setenv=A=b" in words
    assert {"--property=ProtectSystem=strict", "--property=ReadWritePaths=-/etc/caelum"} < set(words)


INHERITING = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from caelum_common.start import bind, starting
with starting():
    print(bind("127.0.0.1", int(sys.argv[1]), "x_port").fileno())
"""


def test_a_socket_that_systemd_hands_over_is_taken_and_another_port_is_no_start():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def start(wanted: int) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", INHERITING, str(wanted)],
                env={**os.environ, "LISTEN_FDS": "1"},
                preexec_fn=lambda: os.dup2(listener.fileno(), 3),
                close_fds=False,
                capture_output=True,
                text=True,
                check=False,
            )

        assert start(port).stdout.strip() == "3"
        other = start(port + 1)
        assert other.returncode == 78
        assert f"systemd hands over port {port} and not {port + 1}; deploy again, or change x_port" in other.stderr
