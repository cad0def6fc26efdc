"""Who owns what, and what nobody may read or change."""

from __future__ import annotations

from fleet import Fleet, machines, secrets, units


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


def test_settings_are_closed_to_others(fleet: Fleet) -> None:
    for name in machines(fleet):
        for line in fleet.host(name).check_output("stat -c '%a %U' /etc/caelum/*.env").splitlines():
            mode, owner = line.split()
            assert mode == "640", name
            assert owner == "root", name


def test_no_secret_is_in_an_environment_an_argument_a_setting_a_unit_or_the_journal(fleet: Fleet) -> None:
    words = secrets()
    assert len(words) >= 8
    for name in machines(fleet):
        host = fleet.host(name)
        # the words come from a file, so that the search does not find itself
        host.run("umask 077; printf %%s %s > /run/words", "\n".join(words))
        places = "/proc/[0-9]*/environ /proc/[0-9]*/cmdline /etc/caelum/*.env /etc/systemd/system"
        found = host.run(f"grep -rlaFf /run/words {places}").stdout
        told = host.run("journalctl --no-pager -o cat | grep -cFf /run/words").stdout.strip()
        host.run("rm /run/words")
        assert found == "", (name, found)
        assert told == "0", name


def test_each_service_has_a_state_folder_of_its_own(fleet: Fleet) -> None:
    for name in machines(fleet):
        host = fleet.host(name)
        for user in {user for _, user, _ in units(fleet, name) if user}:
            folder = host.file(f"/var/lib/caelum/{user.removeprefix('caelum-')}")
            # what lies in FinColl's is its kill switch, which is not its own to lift
            owner, closed = ("root", 0o022) if user == "caelum-fincoll" else (user, 0o027)
            assert folder.user == owner, (name, folder)
            assert folder.mode & closed == 0, (name, folder)
