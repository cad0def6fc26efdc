"""The lab itself: machines that are real, faults that are felt, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.lab import cgroups, image, lab, network, share
from tools.lab.errors import LabError
from tools.lab.inventory import Inventory
from tools.lab.places import LABS, ROOT, Places

from support.lab import Machines, machines

pytestmark = pytest.mark.lab
NEAR, FAR = "10.32.3.27", "10.255.255.254"
HOSTS = {"near": NEAR, "far": FAR}


@pytest.fixture(scope="module")
def two() -> Iterator[Machines]:
    with machines("two", HOSTS) as have:
        yield have


def reaches(two: Machines, name: str, address: str) -> bool:
    return two[name].run(["ping", "-c1", "-W1", address], check=False).returncode == 0


def test_every_host_runs_with_no_failed_unit_and_a_name_of_its_own(two: Machines) -> None:
    for name, address in HOSTS.items():
        host = two[name]
        assert host.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
        assert host.run(["systemctl", "--failed", "--no-legend"]).stdout == ""
        assert host.run(["hostname"]).stdout == f"{name}\n"
        assert address in host.run(["ip", "-4", "-o", "addr"]).stdout
    ids = {two[name].run(["cat", "/etc/machine-id"]).stdout for name in HOSTS}
    assert len(ids) == 2


def test_a_hosts_key_is_checked(two: Machines) -> None:
    """The lab's known_hosts is right for its hosts, and wrong for one that pretends to be another."""
    known = two.places.known_hosts
    kept = known.read_text()
    lines = [line.split(" ", 1) for line in kept.splitlines()]
    try:
        known.write_text(f"{lines[0][0]} {lines[1][1]}\n{lines[1][0]} {lines[0][1]}\n")
        refused = two["near"].run(["true"], check=False)
    finally:
        known.write_text(kept)
    assert refused.returncode == 255
    assert two["near"].run(["true"]).returncode == 0


def test_memory_max_is_enforced(two: Machines) -> None:
    eat = ["/usr/bin/python3", "-c", "b'x' * 300_000_000"]
    unit = ["systemd-run", "--quiet", "--wait", "--collect", "-p", "MemorySwapMax=0"]
    assert two["near"].run([*unit, "-p", "MemoryMax=1G", *eat], check=False).returncode == 0
    assert two["near"].run([*unit, "-p", "MemoryMax=50M", *eat], check=False).returncode != 0


def test_hosts_reach_each_other_across_the_subnets_and_nothing_outside(two: Machines) -> None:
    assert reaches(two, "near", FAR)
    assert reaches(two, "far", NEAR)
    outside = network.inside(two.places, "ip", "route", "show")
    assert "default" not in outside
    own = json.loads(subprocess.check_output(["ip", "-j", "-4", "addr"]))
    here = [entry["local"] for link in own for entry in link["addr_info"] if entry["local"] != "127.0.0.1"]
    for address in ("192.0.2.1", *here):
        assert not reaches(two, "near", address), f"the lab reaches {address}, which is no part of it"


def test_a_hosts_clock_cannot_be_set(two: Machines) -> None:
    refused = two["near"].run(["date", "--set=@0"], check=False)
    assert "not permitted" in refused.stderr
    assert time.time() > 1e9


def test_a_host_that_is_cut_off_is_reached_again_when_healed(two: Machines) -> None:
    two.cut("far")
    try:
        assert not reaches(two, "near", FAR)
        assert two["far"].up, "only its cable is gone"
    finally:
        two.heal("far")
    assert two["far"].wait(20) == "running"


def test_packets_are_lost_in_the_part_that_was_asked_for(two: Machines) -> None:
    two.lose("far", 50)
    try:
        said = two["near"].run(["ping", "-q", "-c", "60", "-i", "0.02", "-W", "1", FAR], check=False).stdout
    finally:
        two.heal("far")
    (lost,) = [float(word[:-1]) for word in said.split() if word.endswith("%")]
    assert 40 < lost < 95, said  # each packet passes twice: three of four don't come back
    assert reaches(two, "near", FAR)


def test_a_host_reboots_and_keeps_its_files(two: Machines) -> None:
    host = two["far"]
    host.run(["touch", "/root/kept"])
    before = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    assert two.reboot("far") == "running"
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before
    assert host.run(["ls", "/root/kept"]).stdout == "/root/kept\n"
    assert reaches(two, "near", FAR)


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_host_that_lost_its_power_comes_up_again(two: Machines, way: str) -> None:
    getattr(two, way)("far")
    assert not two["far"].up
    assert not reaches(two, "near", FAR)
    assert two.start("far") == "running"
    assert reaches(two, "near", FAR)


def test_the_share_is_one_folder_and_hangs_and_goes_on(two: Machines) -> None:
    place = two.lab.state.share
    two["near"].run(["sh", "-c", f"echo shared >{place}/word"])
    assert two["far"].run(["cat", f"{place}/word"]).stdout == "shared\n"
    two.hang_share()
    try:
        waits = two["far"].run(["timeout", "2", "cat", f"{place}/word"], check=False, timeout_s=20)
        assert waits.returncode == 124, "a read of a hanging share must wait"
        assert two["near"].run(["echo", "alive"], timeout_s=10).stdout == "alive\n", "the host itself goes on"
    finally:
        two.resume_share()
    assert two["far"].run(["cat", f"{place}/word"], timeout_s=10).stdout == "shared\n"


def test_a_full_disk_is_full_for_its_folder_and_keeps_what_was_there(two: Machines) -> None:
    host = two["near"]
    host.run(["sh", "-c", "mkdir -p /srv/full && echo old >/srv/full/file"])
    two.fill("near", "/srv/full")
    try:
        assert host.run(["cat", "/srv/full/file"]).stdout == "old\n"
        refused = host.run(["sh", "-c", "head -c 100000 /dev/zero >/srv/full/new"], check=False)
        assert "No space left" in refused.stderr
        assert host.run(["sh", "-c", "echo free >/srv/other"]).returncode == 0
    finally:
        two.empty("near", "/srv/full")
    assert host.run(["sh", "-c", "echo new >/srv/full/file"]).returncode == 0


def test_a_playbook_runs_inside_with_what_the_lab_lends(two: Machines, tmp_path: Path) -> None:
    proof = {"that": ["said.stdout == inventory_hostname", "vault_tokens.pim | length > 30"]}
    tasks = [{"ansible.builtin.command": "hostname", "register": "said"}, {"ansible.builtin.assert": proof}]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    hosts = {name: {"ansible_host": address} for name, address in HOSTS.items()}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    done = two.playbook("-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert any((two.places.folder / "cp").iterdir()), "SSH's shared connections are the lab's own"
    vault = (two.places.keys / "vault.yml").read_text()
    assert vault.startswith("$ANSIBLE_VAULT;")


def test_a_version_is_tagged_once_and_signed(two: Machines) -> None:
    two.tag("v9.9.9")
    git = ["git", "-C", str(two.places.source)]
    first = subprocess.check_output([*git, "rev-parse", "v9.9.9"])
    two.tag("v9.9.9")
    assert subprocess.check_output([*git, "rev-parse", "v9.9.9"]) == first
    signers = f"gpg.ssh.allowedSignersFile={two.places.keys / 'allowed_signers'}"
    verify = [*git, "-c", signers, "verify-tag"]
    assert subprocess.run([*verify, "v9.9.9"], check=False, capture_output=True).returncode == 0
    subprocess.run([*git, "-c", "user.name=x", "-c", "user.email=x@y", "tag", "-m", "x", "v9.9.8"], check=True)
    assert subprocess.run([*verify, "v9.9.8"], check=False, capture_output=True).returncode != 0


def test_the_forwarder_shows_pims_port_on_loopback() -> None:
    wanted = Inventory("forwarded", {"web": NEAR}, pim="web", pim_port=5000)
    name = f"forwarded-{os.getpid()}"
    try:
        have = lab.boot(wanted, name, say=lambda _: None)
        have.host("web").run(["systemd-run", "--quiet", "/usr/bin/python3", "-m", "http.server", "5000"])
        answer = b""
        for _ in range(50):
            try:
                answer = urllib.request.urlopen(have.state.dashboard, timeout=5).read()  # noqa: S310 - our own loopback
                break
            except OSError:
                time.sleep(0.1)
        assert b"Directory listing" in answer
    finally:
        lab.down(name, say=lambda _: None)


def traces(places: Places, hosts: list[str], networks: set[int]) -> list[str]:
    """Whatever of the lab is still on this machine."""
    found = [str(path) for path in (places.folder, places.network) if path.exists()]
    found += [str(LABS)] if LABS.exists() and not any(LABS.iterdir()) else []
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if places.namespace in line]
    found += [str(root / f"caelum-lab/{places.name}") for root in cgroups.hierarchies()]
    machine = [places.machine(host) for host in hosts]
    found += [str(Path("/run/systemd/nspawn/propagate") / name) for name in machine]
    left = [text for text in found if text.startswith("/") is False or Path(text).exists()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            inside = (process / "ns/net").stat().st_ino in networks
        except OSError:
            continue
        if inside or str(places.folder) in words:
            left.append(f"process {process.name}: {words}")
    return left


def test_down_leaves_nothing_and_can_be_said_twice() -> None:
    name = f"gone-{os.getpid()}"
    have = lab.boot(Inventory("gone", HOSTS, pim="near"), name, say=lambda _: None)
    hosts, places = list(HOSTS), have.places
    networks = {places.network.stat().st_ino}
    assert traces(places, hosts, networks), "the search finds a lab that is there"
    have.host("near").run(["sh", "-c", f"nohup sh -c 'while :; do cat {have.state.share}/.a*; done' >/dev/null 2>&1 &"])
    share.hang(have.state.processes["share"])
    lab.down(name, say=lambda _: None)
    assert traces(places, hosts, networks) == []
    said: list[str] = []
    lab.down(name, say=said.append)
    assert said == [f"there is no lab '{name}': nothing to end"]


@pytest.mark.parametrize("after_s", [0.05, 0.3, 1.0, 2.5])
def test_down_takes_away_a_lab_whose_boot_was_killed(after_s: float) -> None:
    name = f"killed-{os.getpid()}"
    places = Places(name)
    image.ready(lambda _: None)
    wanted = f"inventory.Inventory('killed', {HOSTS!r}, pim='near')"
    code = f"from tools.lab import lab, inventory; lab.boot({wanted}, {name!r})"
    boot = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not places.folder.exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    time.sleep(after_s)
    networks = {places.network.stat().st_ino} if places.network.exists() else set()
    os.killpg(boot.pid, signal.SIGKILL)
    boot.wait()
    lab.down(name, say=lambda _: None)
    assert traces(places, list(HOSTS), networks) == []


def test_a_second_boot_is_refused_and_harms_nothing(two: Machines) -> None:
    with pytest.raises(LabError, match=r"is up already; end it with `make lab-down LAB_NAME="):
        lab.boot(Inventory("again", HOSTS), two.places.name, say=lambda _: None)
    assert two["near"].run(["true"]).returncode == 0


def test_what_no_lab_made_is_neither_used_nor_removed() -> None:
    places = Places(f"foreign-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", places.namespace], check=True)
    try:
        with pytest.raises(LabError, match=r"is there already, and no lab's"):
            lab.boot(Inventory("foreign", HOSTS), places.name, say=lambda _: None)
        lab.down(places.name, say=lambda _: None)
        assert places.network.exists()
    finally:
        subprocess.run(["ip", "netns", "del", places.namespace], check=True)


def test_without_a_mirror_the_image_says_so_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tools.lab import image; from tools.lab.errors import LabError\n"
        f"try: image.ready(lambda _: None, Path({str(tmp_path / 'cache')!r}))\n"
        "except LabError as error: sys.exit(str(error))"
    )
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a Debian mirror must be reachable" in done.stderr
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
