"""What `caelum_instance` writes says to its readers what was asked for, and ports and folders are told truly."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance.accounts import Account, barred_folder
from ansible.module_utils.caelum.instance.envfile import render, service_of
from ansible.module_utils.caelum.instance.instances import Instance
from ansible.module_utils.caelum.instance.launch import launcher
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.ports import taken_by
from ansible.module_utils.caelum.instance.supervisor_config import daemon, program, starts_by_itself, stopping
from ansible.module_utils.caelum.instance.tree import Directory, emptied, make_directory, remove
from dotenv import dotenv_values
from supervisor.options import ServerOptions

NASTY = ["", "two words", '{"a": ["b", 1]}', "it's", "back\\slash", "a #comment", "a ;b", "100%", "$HOME `id` !x", "Ω"]


def test_settings_are_read_back_as_they_were_given(tmp_path):
    settings = {f"KEY_{index}": value for index, value in enumerate(NASTY)}
    path = tmp_path / "fincoll@stable.env"
    path.write_text(render("fincoll", settings))
    assert dotenv_values(path) == settings
    assert service_of(path) == "fincoll"


def test_an_env_file_of_somebody_else_is_of_no_service(tmp_path):
    path = tmp_path / "other@stable.env"
    path.write_text("LOG_LEVEL=INFO\n")
    assert service_of(path) is None


def test_settings_without_odd_letters_can_be_read_by_a_shell(tmp_path):
    path = tmp_path / "fincoll@stable.env"
    path.write_text(render("fincoll", {"SERVICES": '{"news": "http://127.0.0.1:18004"}'}))
    said = subprocess.run(["sh", "-c", f'. "{path}"; echo "$SERVICES"'], capture_output=True, text=True, check=True)
    assert said.stdout == '{"news": "http://127.0.0.1:18004"}\n'


def test_supervisord_hands_the_process_exactly_the_arguments_asked_for(tmp_path):
    """Through the real reader of supervisord's files and a real shell, quoting and % included."""
    layout = Layout(tmp_path / "a b")
    release = layout.prefix / "releases/v1.0.0"
    (release / "bin").mkdir(parents=True)
    python = release / "bin/python"
    python.write_text('#!/bin/sh\nprintf \'%s\\n\' "$CAELUM_RELEASE" "$@"\n')
    python.chmod(0o755)
    slot = layout.prefix / "slot"
    slot.symlink_to("releases/v1.0.0")
    instance = Instance("x@stable", "x", "v1.0.0", ("{python}", "{release}/data", *NASTY), {}, {"key": "k"})
    options = read_by_supervisor(layout, program(instance, layout, slot, "mark"))
    (config,) = options.process_group_configs[0].process_configs
    said = subprocess.run(["sh", "-c", f"exec {config.command}"], capture_output=True, text=True, check=True)
    assert said.stdout.split("\n")[:-1] == [str(release), f"{release}/data", *NASTY]
    assert config.environment["CAELUM_ENV_FILE"] == f"{layout.prefix}/etc/caelum/x@stable.env"
    assert config.environment["CREDENTIALS_DIRECTORY"] == f"{layout.prefix}/etc/caelum/credentials/x@stable"
    assert config.environment["CAELUM_FINGERPRINT"] == "mark"
    assert config.stdout_logfile == f"{layout.prefix}/var/log/caelum/x@stable.log"
    assert config.exitcodes == [0, 78]


def read_by_supervisor(layout: Layout, text: str) -> ServerOptions:
    """Supervisor's own view of a program's file."""
    conf_d = layout.prefix / "etc/supervisor/conf.d"
    conf_d.mkdir(parents=True)
    layout.logs.mkdir(parents=True)
    (conf_d / "x@stable.conf").write_text(text)
    config = conf_d.parent / "supervisord.conf"
    config.write_text(daemon(layout, layout.prefix / "s.sock", layout.prefix / "s.pid", as_root=False))
    options = ServerOptions()
    options.realize(["-c", str(config)])
    return options


def test_a_programs_text_tells_how_it_starts_and_stops():
    instance = Instance("x@stable", "x", "v1.0.0", ("{python}",), stop_signal="INT", stop_wait=20)
    text = program(instance, Layout(Path("/srv")), Path("/srv/slot"), "mark")
    assert starts_by_itself(text)
    assert stopping(text) == ("INT", 20)
    assert stopping("") == ("TERM", 5)


def test_the_shell_line_starts_a_program_outside_the_release_too():
    assert launcher(Path("/s"), ("/bin/echo", "a")).endswith("&& exec /bin/echo a")


def test_a_taken_port_names_its_owner_and_a_free_one_nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        owner = taken_by("127.0.0.1", port)
        assert owner is not None
        assert owner.pid == os.getpid()
        assert f"(pid {os.getpid()})" in str(owner)
        assert taken_by("127.0.0.2", port) is None
        assert taken_by("0.0.0.0", port) is not None
    assert taken_by("127.0.0.1", port) is None


def test_an_address_of_another_host_is_refused():
    with pytest.raises(Refused, match="choose an address of this host"):
        taken_by("192.0.2.1", 18000)


def test_a_folder_that_a_user_cannot_enter_is_found(tmp_path):
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    stranger = Account("stranger", 61234, 61234, "/nonexistent", frozenset({61234}))
    above = barred_folder(tmp_path, stranger)
    assert barred_folder(inner, stranger) == (above or closed)
    owner = Account("owner", os.getuid(), os.getgid(), "/", frozenset({os.getgid()}))
    assert barred_folder(inner, owner) is None


def test_only_folders_that_hold_nothing_else_are_emptied(tmp_path):
    (tmp_path / "etc/conf.d").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    ours = tmp_path / "etc/conf.d/a.conf"
    for path in (ours, tmp_path / "run/else.sock"):
        path.touch()
    folders = [tmp_path / "etc/conf.d", tmp_path / "etc", tmp_path / "run", tmp_path / "missing"]
    found = emptied(folders, [ours])
    assert found == [tmp_path / "etc/conf.d", tmp_path / "etc"]
    for path in [ours, *found]:
        remove(path)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_directory_gets_its_permissions_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        make_directory(Directory(tmp_path / "a/b", 0o750))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o750
