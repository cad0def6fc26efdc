"""A host that cannot take a deployment says so in one line, and what this deployment has itself is no obstacle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import support.ansible_path  # noqa: F401

# isort: split
from ansible.module_utils.caelum.preflight.host import SPEC

from support.modules import run_module, run_playbook
from support.native_host import NativeHost, native_host
from support.processes import free_port

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
FREE = ["service=fincoll", "caelum_database_port=15999"]
STABLE, CANDIDATE = "fincoll@stable", "fincoll@candidate"


@pytest.fixture
def host() -> Iterator[NativeHost]:
    with native_host() as one:
        one.release("v1.0.0")
        yield one


def wanted(port: int, name: str = STABLE, **more: Any) -> dict[str, Any]:
    """A row of `ports`."""
    return {"name": name, "service": "fincoll", "port": port, "variable": "fincoll_port", **more}


def look(prefix: Path, *ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the module says of a host, with no space asked for unless `more` does."""
    return run_module("caelum_preflight", {"prefix": str(prefix), "free_mib": 0, "ports": list(ports), **more})


@pytest.fixture
def foreign() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_host_that_fits_is_told_with_its_space_and_not_touched(tmp_path: Path) -> None:
    prefix = tmp_path / "new/prefix"
    said = look(prefix, wanted(free_port()), share=str(tmp_path))
    assert not said.get("failed"), said
    assert (said["changed"], said["held"]) == (False, {})
    system = os.statvfs(tmp_path)
    assert said["free_mib"].keys() == {str(prefix), str(tmp_path)}
    assert abs(said["free_mib"][str(prefix)] - (system.f_bavail * system.f_frsize >> 20)) < 1024
    assert list(tmp_path.iterdir()) == []


def test_a_port_of_somebody_else_is_refused_with_port_owner_and_variable(tmp_path: Path, foreign: int) -> None:
    said = look(tmp_path, wanted(free_port(), CANDIDATE), wanted(foreign))
    comm = Path("/proc/self/comm").read_text().strip()
    assert said["msg"] == (
        f"{STABLE} cannot listen on port {foreign} of 127.0.0.1: {comm} (pid {os.getpid()}) has it; "
        "end that process, or set fincoll_port to a free port"
    )


def test_a_wildcard_listener_is_in_the_way_too(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert f"pid {os.getpid()}" in look(tmp_path, wanted(server.getsockname()[1]))["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody without the right to look")
def test_an_owner_that_may_not_be_looked_at_is_told_as_such(tmp_path: Path, foreign: int) -> None:
    tmp_path.chmod(0o777)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import support.ansible_path, os\n"
        "from ansible.module_utils.caelum.instance.ports import holders\n"
        "os.setuid(65534)\n"
        "print(holders([('127.0.0.1', int(sys.argv[2]))])['127.0.0.1', int(sys.argv[2])])"
    )
    tests = str(Path(__file__).resolve().parents[1])
    said = subprocess.run([sys.executable, "-c", code, tests, str(foreign)], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "a process of another user"


def test_ports_of_this_deployments_own_instances_are_no_obstacle(host: NativeHost) -> None:
    host.apply(host.instance(STABLE), host.instance(CANDIDATE))
    pids = {name: host.ask(name)["pid"] for name in (STABLE, CANDIDATE)}
    rows = [wanted(host.ports[name], name) for name in (STABLE, CANDIDATE)]
    assert look(host.prefix, *rows)["held"] == pids
    swapped = [wanted(host.ports[CANDIDATE], STABLE), wanted(host.ports[STABLE], CANDIDATE)]
    assert not look(host.prefix, *swapped).get("failed"), "the plan of the service sees to its own instances"


def test_a_port_of_another_service_of_this_deployment_is_refused(host: NativeHost) -> None:
    host.apply(host.instance(STABLE))
    pid = host.ask(STABLE)["pid"]
    port = host.ports[STABLE]
    said = look(host.prefix, wanted(port, "pim-web@stable", service="pim", variable="pim_port"))
    assert f"pim-web@stable cannot listen on port {port}" in said["msg"]
    assert f"(pid {pid}) has it, which runs as instance {STABLE}; set pim_port to a free port" in said["msg"]


def test_the_same_instance_of_another_deployment_is_somebody_else(host: NativeHost, tmp_path: Path) -> None:
    host.apply(host.instance(STABLE))
    pid = host.ask(STABLE)["pid"]
    assert (
        f"(pid {pid}) has it; end that process, or set fincoll_port"
        in look(tmp_path, wanted(host.ports[STABLE]))["msg"]
    )


@pytest.mark.parametrize("port", [0, -1, 65536, 100000])
def test_what_is_no_port_names_the_variable(tmp_path: Path, port: int) -> None:
    said = look(tmp_path, wanted(port))["msg"]
    assert said.startswith(f"{STABLE} cannot listen on port {port}: ports go from 1 to 65535; change fincoll_port")


def test_two_services_on_one_port_are_refused_though_nothing_listens_yet(tmp_path: Path) -> None:
    port = free_port()
    said = look(tmp_path, wanted(port), wanted(port, "pim-web@stable", service="pim", variable="pim_port"))["msg"]
    assert f"{STABLE} and pim-web@stable both want port {port}" in said
    assert "change fincoll_port or pim_port" in said


def test_an_address_that_is_not_this_hosts_is_refused(tmp_path: Path) -> None:
    said = look(tmp_path, wanted(18000, address="192.0.2.1"))["msg"]
    assert said.startswith("port 18000 of 192.0.2.1 cannot be listened on: ")
    assert "\n" not in said


def test_too_little_space_names_the_folder_what_it_has_and_what_is_needed(tmp_path: Path) -> None:
    said = look(tmp_path / "p", free_mib=1 << 40)["msg"]
    assert said.startswith(f"no space under {tmp_path / 'p'}: ")
    assert f"MiB are free, a deployment needs {1 << 40}; free some, set caelum_prefix to another place" in said


def test_a_file_in_place_of_a_folder_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = f"{tmp_path / 'file'} is no folder, and {tmp_path / 'file/p'} needs one there; set caelum_prefix to"
    assert look(tmp_path / "file/p")["msg"].startswith(line)
    share = look(tmp_path, share=str(tmp_path / "file"))["msg"]
    assert "set caelum_share to another place" in share


@pytest.mark.skipif(not Path("/proc/sys/kernel").is_dir(), reason="needs a place that nobody may write to")
def test_a_place_that_cannot_be_written_to_is_named_with_the_user() -> None:
    said = look(Path("/proc/sys/kernel/caelum"))["msg"]
    assert "cannot write to /proc/sys/kernel, where /proc/sys/kernel/caelum is to be" in said


def test_in_a_run_on_this_machine_the_line_is_the_same_as_the_modules_own(tmp_path: Path, foreign: int) -> None:
    fits = {"prefix": str(tmp_path / "p"), "free_mib": "1", "ports": [wanted(free_port())]}
    taken = {**fits, "ports": [wanted(foreign)]}
    lacking = {"free_mib": 1}
    fine = run_playbook(tmp_path, [{"caelum_preflight": fits}])
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert "changed=0" in fine.stdout
    for parameters in (taken, lacking):
        line = run_module("caelum_preflight", parameters)["msg"]
        shown = run_playbook(tmp_path, [{"caelum_preflight": parameters}])
        assert shown.returncode != 0
        assert line in " ".join((shown.stdout + shown.stderr).replace("\\n", " ").split())


def deploy(prefix: Path, *variables: str) -> tuple[int, str]:
    """A real `deploy.yml` into `prefix`: its exit status, and what it said."""
    program = Path(sys.executable).with_name("ansible-playbook")
    given = [f"caelum_prefix={prefix}", f"caelum_port_base={free_port() % 20000 + 1000}", *variables]
    run = subprocess.run(
        [program, "-i", "inventory/local", "deploy.yml", *(part for one in given for part in ("-e", one))],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A place, not there yet, that every user can enter; root's deployments ask for that."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cae") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "p"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (["version=v1.1.0", "caelum_free_mib=999999999"], "MiB are free, a deployment needs 999999999; free some"),
        (["version=v1.1.0", "fincoll_port=x"], "fincoll_port is 'x', and takes a whole number"),
        (["version=v1.1.0", "fincoll_port=70000"], "fincoll@stable cannot listen on port "),
        (["version=v1.1.0", "fincoll_port=5000"], "fincoll@stable and pim-web@stable both want port "),
        (["version=v1.1.0", "caelum_bind=192.0.2.1"], "of 192.0.2.1 cannot be listened on: "),
        (["version=v1.1.0", "component=newz"], "there is no component 'newz'; known: "),
        (["version=v1.2.0-beta"], "senvec_version: v1.2.0-beta is a beta, which runs in FinColl's candidate slot only"),
        (["version=v1.2.0-rc.1", "service=fincoll"], "inventory local has no edge that splits it"),
        (["version=newest"], "'newest' is not a version"),
    ],
)
def test_a_run_that_cannot_work_ends_with_its_line_before_anything_is_made(
    prefix: Path, variables: list[str], line: str
) -> None:
    status, said = deploy(prefix, *variables)
    assert status != 0
    assert line in said.strip().splitlines()[-1]
    assert not prefix.exists()


def test_a_run_that_wants_a_port_of_somebody_else_names_port_owner_and_variable(prefix: Path, foreign: int) -> None:
    status, said = deploy(prefix, "version=v1.1.0", "caelum_port_base=0", f"fincoll_port={foreign}", *FREE)
    assert status != 0
    line = said.strip().splitlines()[-1]
    assert f"fincoll@stable cannot listen on port {foreign} of 127.0.0.1: " in line
    assert f"(pid {os.getpid()}) has it; end that process, or set fincoll_port to a free port" in line
    assert not prefix.exists()


def test_the_documentation_names_every_option_with_its_default() -> None:
    import yaml

    from support.modules import load

    documented = yaml.safe_load(load("caelum_preflight").DOCUMENTATION)["options"]
    assert {name: option.get("default") for name, option in documented.items()} == {
        name: option.get("default") for name, option in SPEC.items()
    }
    assert documented["ports"]["suboptions"].keys() == SPEC["ports"]["options"].keys()
