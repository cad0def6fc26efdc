"""The parts of the lab that need no machine: names, inventories, records, words, processes, the clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.lab import (
    cgroups,
    cli,
    image,
    inventory,
    network,
    places,
    play,
    processes,
    requirements,
    source,
    state,
    variables,
)
from tools.lab.errors import LabError
from tools.lab.places import Places

FULL = "CapInh:\t0\nCapEff:\t000001ffffffffff\n"


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"platform": "darwin"}, "the lab needs Linux"),
        ({"user": 1000}, "the lab needs root"),
        ({"user": 0, "status": "CapEff:\t00000000a80425fb\n"}, "the lab needs CAP_SYS_ADMIN"),
    ],
)
def test_what_is_missing_is_one_line_with_a_remedy(facts: Any, line: str) -> None:
    said = requirements.missing(**facts)
    assert said.startswith(line)
    assert "\n" not in said


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert requirements.missing(user=0, status=FULL) == (
        "the lab needs the Debian package bindfs: apt-get install "
        "bindfs git iproute2 mmdebstrap openssh-client openssl systemd-container util-linux"
    )


def test_every_package_that_a_lab_needs_is_listed_for_continuous_integration() -> None:
    listed = set((places.ROOT / "packages.txt").read_text().splitlines())
    # these come with every Debian that could clone the repository
    assert set(requirements.PROGRAMS.values()) - {"git", "openssl", "util-linux"} <= listed


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "../up", "a b", "-a", "x" * 32])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(LabError, match=r"can't name a lab; write up to 31 of a-z"):
        Places(name)


def test_no_two_labs_share_a_place_and_every_port_fits() -> None:
    one, other = Places("prod"), Places("prod-a")
    assert one.cgroup("a-b") != other.cgroup("b"), "names that join to the same text are apart"
    assert one.port("a-b") != other.port("b")
    assert one.port("h") == Places("prod").port("h"), "an unfinished lab is found again"
    assert len(one.port("a-very-long-name-of-a-host")) <= 15


def listed(**hosts: dict[str, object]) -> dict[str, object]:
    return {"_meta": {"hostvars": hosts}, "database": {"hosts": ["db"]}, "pim": {"hosts": ["web"]}}


def test_an_inventory_becomes_what_a_lab_must_boot() -> None:
    common = {"caelum_share": "/srv/ss", "postgresql_mode": "existing", "pim_port": 5001, "caelum_port_base": 10}
    have = inventory.parse(
        "x", listed(web={**common, "ansible_host": "10.0.0.2"}, db={**common, "caelum_address": "10.1.0.2"})
    )
    assert have.hosts == {"web": "10.0.0.2", "db": "10.1.0.2"}
    assert (have.share, have.database, have.existing, have.pim, have.pim_port) == (
        "/srv/ss", ["db"], True, "web", 5011,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("hosts", "line"),
    [
        ({"a": {"ansible_host": "10.0.0.2"}, "b": {"ansible_host": "10.0.0.2"}}, "a and b both have 10.0.0.2"),
        ({"a": {"ansible_host": "10.0.0.1"}}, "a has 10.0.0.1, which the lab's bridge takes"),
        ({"a": {"ansible_host": "gpu.example"}}, "a has the address 'gpu.example'"),
        ({"a": {"ansible_connection": "local"}}, "inventory 'x' is this machine itself"),
    ],
)
def test_an_inventory_that_cannot_be_booted_says_why(hosts: dict[str, dict[str, object]], line: str) -> None:
    with pytest.raises(LabError) as refused:
        inventory.parse("x", listed(**hosts))
    assert str(refused.value).startswith(line)


def test_an_unknown_inventory_names_those_that_there_are() -> None:
    with pytest.raises(LabError, match=r"^there is no inventory 'nope'; known: .*production"):
        inventory.read("nope")


def test_the_made_up_vault_has_every_variable_of_the_example_and_no_word_of_it() -> None:
    wanted = inventory.example("production")
    assert {"vault_pim_user_password", "vault_tokens"} <= set(wanted)
    made = variables.made_up(wanted)
    assert set(made) == set(wanted)
    assert set(made["vault_tokens"]) == set(wanted["vault_tokens"])
    assert "change-me" not in yaml.safe_dump(made)
    assert made != variables.made_up(wanted), "no two labs share a secret"


def test_what_a_lab_lends_are_variables_that_the_roles_know() -> None:
    specs = [yaml.safe_load(path.read_text()) for path in places.ROOT.glob("roles/*/meta/argument_specs.yml")]
    known = {name for spec in specs for entry in spec["argument_specs"].values() for name in entry["options"]}
    lent = {name for name in variables.lent(Places("x")) if not name.startswith("ansible_")}
    assert lent <= known


def test_the_words_of_a_command_line_are_understood() -> None:
    words = ["-i", "inventory/x", "deploy.yml", "-e", "version=v1.2.0", "-e", "service=fincoll pim_port=1", "-e", "@f"]
    assert play.asked(words) == {"version": "v1.2.0", "service": "fincoll", "pim_port": "1"}
    assert play.building([*words, "--limit", "a"]) == [
        "-i", "inventory/x", "-e", "version=v1.2.0", "-e", "service=fincoll pim_port=1", "-e", "@f",
        "playbooks/build.yml",
    ]  # fmt: skip


def test_a_record_is_read_as_it_was_written_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    have = state.State("x", {"a": "10.0.0.2"}, "/srv", "/image", processes={"share": processes.Process(1, 2)})
    have.write(tmp_path / "state.json")
    text = (tmp_path / "state.json").read_text()
    assert state.parse(text) == have
    for torn in (text[:40], "{}", "[]"):
        with pytest.raises(ValueError, match=r"."):
            state.parse(torn)


def test_a_number_that_became_another_processs_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        started = processes.start_time(other.pid)
        assert started is not None
        recycled = processes.Process(other.pid, started - 1)
        assert not recycled.alive
        recycled.end()
        assert other.poll() is None
        processes.Process(other.pid, started).end()
        assert other.wait() != 0


def test_a_process_that_refuses_to_end_and_one_that_is_stopped_end(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = processes.start([sys.executable, "-c", deaf], tmp_path / "log")
    while not (tmp_path / "log").read_text():
        assert process.alive
    process.signal(19)
    process.end(timeout_s=0.2)
    assert not process.alive


def test_hierarchies_are_one_on_version_2_and_all_on_version_1(tmp_path: Path) -> None:
    for name in ("memory", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuacct").symlink_to("memory")
    assert [path.name for path in cgroups.hierarchies(tmp_path)] == ["memory", "unified"]
    (tmp_path / "cgroup.controllers").touch()
    assert cgroups.hierarchies(tmp_path) == [tmp_path]


def test_the_images_key_follows_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.key()
    monkeypatch.setattr(image, "PACKAGES", tuple(reversed(image.PACKAGES)))
    assert image.key() == before
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "vim"))
    assert image.key() != before


def test_an_image_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / image.key()).mkdir()
    said: list[str] = []
    assert image.ready(said.append, tmp_path) == tmp_path / image.key()
    assert said == []


def test_the_gateway_is_the_first_address_of_the_subnet() -> None:
    assert network.gateway("10.255.255.254") == "10.255.255.1"


def test_errors_are_one_line_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    if requirements.missing():
        assert cli.main(["status", "nonesuch"]) == 1
    else:
        assert cli.main(["status", "nonesuch"]) == 1
        assert cli.main(["down", "nonesuch"]) == 0, "nothing to end is no error"
    said = capsys.readouterr().err
    assert said.count("\n") == 1


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A lab's clone of a small repository whose working tree has changes."""
    monkeypatch.setattr(places, "LABS", tmp_path / "labs")
    origin, have = tmp_path / "origin", Places("x")
    have.keys.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", have.keys / "signer"], check=True)
    public = (have.keys / "signer.pub").read_text()
    (have.keys / "allowed_signers").write_text(f'lab namespaces="git" {public}')
    identity = {**os.environ, **source.IDENTITY, **source.ALONE}
    origin.mkdir()
    for name, text in ((".gitignore", "ignored\n"), ("kept", "old\n"), ("dropped", "old\n")):
        (origin / name).write_text(text)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"], ["tag", "v1.0.0"]):
        subprocess.run(["git", "-C", origin, *words], check=True, env=identity)
    for name in ("kept", "new", "ignored"):
        (origin / name).write_text("new\n")
    (origin / "dropped").unlink()
    return have


def shown(clone: Places, version: str) -> str:
    return subprocess.check_output(["git", "-C", str(clone.source), "show", f"{version}:kept"], text=True)


def test_a_version_is_the_checkouts_tag_else_its_head_else_with_the_variable_its_files(
    clone: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    source.make(clone, origin)
    monkeypatch.delenv("LAB_WORKTREE", raising=False)
    source.offer(clone, "v1.1.0", origin)
    monkeypatch.setenv("LAB_WORKTREE", "1")
    source.offer(clone, "v1.2.0", origin)
    assert {path.name for path in clone.source.iterdir()} == {".git", ".gitignore", "kept", "new"}
    source.offer(clone, "v1.0.0", origin)
    assert [shown(clone, version) for version in ("v1.0.0", "v1.1.0", "v1.2.0")] == ["old\n", "old\n", "new\n"]
    assert all(source.verified(clone, version) for version in ("v1.0.0", "v1.1.0", "v1.2.0"))


def test_a_version_once_offered_stays_and_a_later_one_is_of_the_later_checkout(
    clone: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_WORKTREE", raising=False)
    origin = tmp_path / "origin"
    source.make(clone, origin)
    source.offer(clone, "v1.1.0", origin)
    identity = {**os.environ, **source.IDENTITY, **source.ALONE}
    subprocess.run(["git", "-C", origin, "commit", "-qam", "later"], check=True, env=identity)
    for version in ("v1.1.0", "v1.2.0"):
        source.offer(clone, version, origin)
    assert (shown(clone, "v1.1.0"), shown(clone, "v1.2.0")) == ("old\n", "new\n")


def test_an_unsigned_tag_does_not_pass(clone: Places, tmp_path: Path) -> None:
    source.make(clone, tmp_path / "origin")
    identity = {**os.environ, **source.IDENTITY, **source.ALONE}
    subprocess.run(["git", "-C", clone.source, "tag", "-m", "x", "v9.9.9"], check=True, env=identity)
    assert not source.verified(clone, "v9.9.9")
