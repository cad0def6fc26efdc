"""Who owns what, and what nobody may read or change."""

from __future__ import annotations

import json

from fleet import Fleet, machines, units


def test_releases_are_roots_and_nobody_can_write_them(fleet: Fleet) -> None:
    for name in machines(fleet):
        found = fleet.host(name).check_output(
            r"find /opt/caelum \( ! -user root -o -perm /022 \) ! -type l -print -quit"
        )
        assert found == "", (name, found)


def test_secrets_on_a_host_are_roots_alone(fleet: Fleet) -> None:
    for name in machines(fleet):
        host = fleet.host(name)
        if host.file("/etc/caelum/credentials").is_directory:
            found = host.check_output(
                r"find /etc/caelum/credentials -type f \( ! -user root -o -perm /077 \) -print -quit"
            )
            assert found == "", (name, found)


def test_settings_hold_no_secret_and_are_closed_to_others(fleet: Fleet) -> None:
    for name in machines(fleet):
        host = fleet.host(name)
        for line in host.check_output("stat -c '%a %U' /etc/caelum/*.env").splitlines():
            mode, owner = line.split()
            assert mode == "640", name
            assert owner == "root", name
        assert host.run("grep -liE 'password=|secret=' /etc/caelum/*.env").stdout == "", name


def test_nothing_secret_is_in_a_processs_environment_its_arguments_or_the_journal(fleet: Fleet) -> None:
    login = "/etc/caelum/credentials/pim-web@stable/pim_database_credentials.json"
    word = json.loads(fleet.host(fleet.first("pim")).file(login).content_string)["password"]
    for name in machines(fleet):
        host = fleet.host(name)
        host.run("printf %%s %s > /run/word", word)
        # the word comes from a file, so that the search does not find itself
        found = host.run("grep -laFf /run/word /proc/[0-9]*/environ /proc/[0-9]*/cmdline").stdout
        told = host.run("journalctl --no-pager -o cat | grep -cFf /run/word").stdout.strip()
        host.run("rm /run/word")
        assert found == "", (name, found)
        assert told == "0", name


def test_each_service_has_a_state_folder_of_its_own(fleet: Fleet) -> None:
    for name in machines(fleet):
        host = fleet.host(name)
        for user in {user for _, user, _ in units(fleet, name) if user}:
            folder = host.file(f"/var/lib/caelum/{user.removeprefix('caelum-')}")
            assert folder.user == user, (name, folder)
            assert folder.mode & 0o027 == 0, (name, folder)
