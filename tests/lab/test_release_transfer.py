"""Releases on their way from the controller over SSH to a share, and from there onto hosts: whole, or not at all."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.release import publish, receive, send, signing
from tools.lab import keys, network

from support.lab import Machines, machines
from support.tiny_release import Tiny, lock_line, tiny_repository, write_wheel

pytestmark = pytest.mark.lab
PIM, GPU = "pim", "gpu"
HOSTS = {PIM: "10.32.3.27", GPU: "10.32.3.44"}
MB = 1 << 20


@pytest.fixture(scope="module")
def two() -> Iterator[Machines]:
    with machines("release", HOSTS) as have:
        yield have


@pytest.fixture
def tiny(two: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A repository whose release weighs 64 MB, and hosts and a share without any."""
    made = tiny_repository(tmp_path)
    big = write_wheel(made.index, "heavy", "1.0", {"heavy.py": "", "heavy.bin": os.urandom(MB * 32).hex()})
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv is not None
    made.write("locks/demo.txt", (made.root / "locks/demo.txt").read_text() + lock_line(big))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    for name in HOSTS:
        two[name].run(["rm", "-rf", "/opt/caelum", "/etc/caelum", "/var/cache/caelum"])
        shutil.copy(uv, two[name].root / "usr/local/bin/uv")
    shutil.rmtree(two.places.share / "releases", ignore_errors=True)
    return made


def play(two: Machines, tiny: Tiny, *tasks: dict[str, Any], words: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Run tasks, each with the hosts that it is for; the module's result by host, of the last task that ran there."""
    interpreter = {"ansible_python_interpreter": "/usr/bin/python3"}
    hosts = {name: {"ansible_host": address, **interpreter} for name, address in HOSTS.items()}
    (tiny.base / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    plays = []
    for number, task in enumerate(tasks):
        where = task.pop("hosts")
        dump = {"content": "{{ said | to_json }}", "dest": f"{tiny.base}/{number}-{{{{ inventory_hostname }}}}.json"}
        plays.append(
            {
                "hosts": where,
                "gather_facts": False,
                "tasks": [
                    {"caelum_release": task, "register": "said", "ignore_errors": True},
                    {"ansible.builtin.copy": dump, "delegate_to": "localhost", "check_mode": False},
                ],
            }
        )
    (tiny.base / "play.json").write_text(json.dumps(plays, default=str))
    answer = two.playbook("-i", str(tiny.base / "hosts.json"), str(tiny.base / "play.json"), *words)
    said = sorted(tiny.base.glob("[0-9]-*.json"))
    assert said, answer.stdout + answer.stderr
    found = {path.stem.partition("-")[2]: json.loads(path.read_text()) for path in said}
    for path in said:
        path.unlink()
    return found


def share(two: Machines) -> str:
    """Where hosts find the store of the share."""
    return f"{two[PIM].share}/releases"


def released(tiny: Tiny, version: str = "v1.0.0") -> dict[str, str]:
    """A release as the controller's build tells of it; built when it is not in the store yet."""
    made = tiny.run("built", services=[tiny.service(version)])["releases"][0]
    return {"name": "demo", "version": version, "manifest": made["manifest_sha256"]}


def publishing(two: Machines, tiny: Tiny, **more: Any) -> dict[str, Any]:
    """The task that publishes the release through PIM's host."""
    given = {"state": "published", "services": [released(tiny)], "origin": tiny.store, "store": share(two)}
    return given | {"public_key": tiny.key.with_suffix(".key.pub").read_text(), "timeout": 8, "hosts": PIM} | more


def installing(two: Machines, tiny: Tiny, **more: Any) -> dict[str, Any]:
    """The task that installs it on every host."""
    given = {"state": "installed", "services": [released(tiny)], "store": share(two), "prefix": "/", "hosts": "all"}
    pem = tiny.key.with_suffix(".key.pub").read_text()
    return given | {"public_key": pem, "timeout": 8, "python": "/usr/bin/python3", "uv": "/usr/local/bin/uv"} | more


def on_share(two: Machines) -> list[str]:
    """What lies in the share's folder of the service, partial releases too."""
    folder = two.places.share / "releases/demo"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def is_installed(two: Machines, name: str) -> bool:
    return two[name].run(["test", "-e", "/opt/caelum/demo/releases/v1.0.0"], check=False).returncode == 0


def test_a_release_goes_to_the_share_once_and_onto_every_host(two: Machines, tiny: Tiny) -> None:
    lacking = play(two, tiny, installing(two, tiny, may_lack=True))
    assert all(one["lacking"] == [{"name": "demo", "version": "v1.0.0"}] for one in lacking.values())
    assert play(two, tiny, publishing(two, tiny))[PIM]["published"] == ["demo/v1.0.0"]
    assert on_share(two) == ["v1.0.0"]
    assert all(one["changed"] for one in play(two, tiny, installing(two, tiny)).values())
    for name in HOSTS:
        said = two[name].run(["/opt/caelum/demo/releases/v1.0.0/bin/python", "-I", "-c", "import tiny_demo, leftpad"])
        assert said.stdout == ""
        writable = two[name].run(["find", "/opt/caelum/demo/releases", "-perm", "/222", "-type", "f"]).stdout
        assert writable == ""
        assert two[name].run(["stat", "-c", "%U %a", "/opt/caelum/demo/releases/v1.0.0"]).stdout == "root 555\n"
        assert two[name].run(["ls", "/var/cache/caelum"]).stdout.split() == ["uv", "wheels"]
    again = play(two, tiny, publishing(two, tiny), installing(two, tiny))
    assert not any(one["changed"] for one in again.values())


def test_a_host_that_dies_in_the_middle_leaves_nothing_that_looks_like_a_release(two: Machines, tiny: Tiny) -> None:
    task = publishing(two, tiny)
    partial = publish.partial(Path(share(two)), "demo", "v1.0.0", task["services"][0]["manifest"])
    program = ["/usr/bin/python3", "-I", "-c", Path(receive.__file__).read_text(), str(partial)]
    ssh = [*network.enter(two.places), *keys.ssh(two.places, HOSTS[PIM]), shlex.join(program)]
    with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as far:
        assert far.stdin is not None
        far.stdin.write(receive.MAGIC + b"\n" + json.dumps({"name": "wheels/x.whl", "size": 9 * MB}).encode() + b"\n")
        far.stdin.write(os.urandom(5 * MB))
        far.stdin.flush()
        until = time.monotonic() + 60
        while not on_share(two) and time.monotonic() < until:
            time.sleep(0.05)
        two.kill(PIM)
        far.kill()
    left = on_share(two)
    two.start(PIM)
    assert left == [partial.name]
    assert play(two, tiny, publishing(two, tiny))[PIM]["published"] == ["demo/v1.0.0"]
    assert on_share(two) == ["v1.0.0"]


def test_a_connection_that_ends_in_the_middle_is_cleared_by_the_receiver(two: Machines, tiny: Tiny) -> None:
    released(tiny)
    cut = tiny.base / "cut"
    shutil.copytree(tiny.store / "demo/v1.0.0", cut)
    partial = publish.partial(Path(share(two)), "demo", "v1.0.0", "0" * 64)
    program = ["/usr/bin/python3", "-I", "-c", Path(receive.__file__).read_text(), str(partial)]
    inner = shlex.join([*keys.ssh(two.places, HOSTS[PIM]), shlex.join(program)])
    argv = [*network.enter(two.places), "sh", "-c", f"head -c {20 * MB} | {inner}"]
    with pytest.raises(Refused, match=r"did not arrive whole: the connection ended in the middle"):
        send.send(argv, cut, 20, lambda *_: None)
    assert on_share(two) == []


def test_what_was_changed_on_the_share_is_not_installed(two: Machines, tiny: Tiny) -> None:
    play(two, tiny, publishing(two, tiny))
    wheel = next((two.places.share / "releases/demo/v1.0.0/wheels").glob("heavy*"))
    with wheel.open("r+b") as file:
        file.seek(40 * MB)
        file.write(b"evil")
    said = play(two, tiny, installing(two, tiny))
    assert all(
        "heavy" in one["msg"] and "has another sha256 than its manifest says" in one["msg"] for one in said.values()
    )
    assert not is_installed(two, GPU)
    rehearsed = play(two, tiny, installing(two, tiny), words=("--check",))
    assert all("has another sha256" in one["msg"] for one in rehearsed.values())


def test_a_host_goes_by_the_first_key_that_it_was_given(two: Machines, tiny: Tiny) -> None:
    play(two, tiny, publishing(two, tiny))
    signing.create_key(tiny.base / "other/release.key")
    other = (tiny.base / "other/release.key.pub").read_text()
    stranger = play(two, tiny, installing(two, tiny, public_key=other, hosts=GPU))
    assert "corrupted or signed by another key" in stranger[GPU]["msg"]
    play(two, tiny, installing(two, tiny, hosts=GPU))
    assert is_installed(two, GPU)
    assert (
        "holds another key than this controller signs with"
        in play(two, tiny, installing(two, tiny, public_key=other, hosts=GPU))[GPU]["msg"]
    )
    assert play(two, tiny, installing(two, tiny, public_key=other, replace_key=True, hosts=GPU))[GPU]["changed"]


def test_another_python_is_refused_before_anything_is_installed(two: Machines, tiny: Tiny) -> None:
    play(two, tiny, publishing(two, tiny))
    script = two[GPU].root / "usr/local/bin/python3.12"
    script.write_text("""#!/bin/sh\necho '["cpython-312", "linux-x86_64", "glibc 2.36", "/usr/bin/python3"]'\n""")
    script.chmod(0o755)
    said = play(two, tiny, installing(two, tiny, python="/usr/local/bin/python3.12", hosts=GPU))[GPU]
    assert said["msg"].startswith("the release of demo was built for cp3")
    assert "this host has cp312 on linux_x86_64" in said["msg"]
    assert not is_installed(two, GPU)


def test_a_full_disk_ends_in_a_line_and_leaves_nothing_behind(two: Machines, tiny: Tiny) -> None:
    store = two.places.share / "releases"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "caelum-lab-full", str(store)], check=True)
    try:
        said = play(two, tiny, publishing(two, tiny))[PIM]
        assert "did not arrive whole" in said["msg"]
        assert "No space left on device" in said["msg"]
        assert on_share(two) == []
    finally:
        subprocess.run(["umount", str(store)], check=True)
    play(two, tiny, publishing(two, tiny))
    two[GPU].run(["mkdir", "-p", "/var/cache/caelum"])
    two[GPU].run(["mount", "-t", "tmpfs", "-o", "size=16m", "full", "/var/cache/caelum"])
    try:
        said = play(two, tiny, installing(two, tiny, hosts=GPU))[GPU]
        assert "No space left on device" in said["msg"]
        assert not is_installed(two, GPU)
        assert two[GPU].run(["ls", "/var/cache/caelum"]).stdout == ""
    finally:
        two[GPU].run(["umount", "/var/cache/caelum"])


def test_a_share_that_hangs_ends_in_a_line_and_a_host_that_has_all_does_not_notice(two: Machines, tiny: Tiny) -> None:
    play(two, tiny, publishing(two, tiny), installing(two, tiny, hosts=PIM))
    asked = installing(two, tiny)
    two.hang_share()
    try:
        began = time.monotonic()
        said = play(two, tiny, asked)
        assert time.monotonic() - began < 40
        assert not said[PIM]["changed"]
        assert "msg" not in said[PIM]
        assert f"the share {share(two)} did not answer for 8 s" in said[GPU]["msg"]
    finally:
        two.resume_share()
    assert play(two, tiny, installing(two, tiny))[GPU]["changed"]
