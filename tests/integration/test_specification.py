"""Every command of the specification that this runtime serves works; host, port base and token alone differ."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from support import ecosystem as support
from support import specification
from support.ecosystem import Ecosystem
from support.processes import free_port
from support.specification import Line

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

LINES = specification.load()
SPECIFIED_VERSION = "v1.0.0"
CURL = "curl --silent --show-error --noproxy '*' --max-time 20"


@pytest.fixture(scope="module")
def specified(deployed: tuple[Ecosystem, Any]) -> Iterator[Ecosystem]:
    """The ecosystem with FinColl at the version that the specification's lines name; put back afterwards."""
    ecosystem, run = deployed
    assert run.status == 0, run.output[-4000:]
    before = ecosystem.get(8001, "/version")["version"]
    deploy_fincoll(ecosystem, SPECIFIED_VERSION)
    yield ecosystem
    deploy_fincoll(ecosystem, before)


def deploy_fincoll(ecosystem: Ecosystem, version: str) -> None:
    """The specification's rollback by hand, as this project does it: the other release, by its name."""
    run = ecosystem.playbook("deploy.yml", "-e", f"version={version}", "-e", "service=fincoll")
    assert run.status == 0, run.output[-4000:]


@pytest.mark.parametrize("line", [line for line in LINES if line.check], ids=lambda line: line.title)
def test_what_the_specification_writes_works_here(line: Line, specified: Ecosystem, tmp_path: Path) -> None:
    CHECKS[line.check](line, specified, tmp_path)


def local(text: str, ecosystem: Ecosystem) -> str:
    """A line of the specification with this deployment's address, ports and share in the place of its own."""
    text = re.sub(r"10\.32\.3\.\d+:(\d+)", lambda match: f"127.0.0.1:{int(match[1]) + ecosystem.base}", text)
    return text.replace("/home/rford/caelum/ss", str(ecosystem.prefix / "share"))


def shell(text: str, **environment: str) -> str:
    """What a bash command line writes; it fails with what it said when it does not end well."""
    done = subprocess.run(
        ["bash", "-c", text], env={"PATH": os.environ["PATH"], **environment},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return done.stdout


def share(_: Line, ecosystem: Ecosystem, __: Path) -> None:
    folders = {path.name for path in (ecosystem.prefix / "share").iterdir() if path.is_dir()}
    assert folders >= {"releases", "checkpoints", "market-data", "backups"}


def answers(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """Something well answers at each port of a line such as `SenVec: 10.32.3.27:18000-18004` or `["18001:18001"]`."""
    found = re.search(r":(\d{4,5})(?:-(\d+))?", line.line)
    assert found is not None
    for port in range(int(found[1]), int(found[2] or found[1]) + 1):
        assert ecosystem.get(port, "/health")["status"] == "healthy"


def installed_training(_: Line, ecosystem: Ecosystem, __: Path) -> None:
    python = ecosystem.prefix / "opt/caelum/finvec/slots/finvec-train@llm1/bin/python"
    assert "--job" in shell(f"{python} -m finvec.train --help")


@contextmanager
def by_hand(command: str, folder: Path, urls: Iterable[str], **environment: str) -> Iterator[None]:
    """Servers started from a shell in `folder`: the block begins once all answer, and ends their process group."""
    log = Path(environment["HOME"]) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, stdout=output, stderr=output, start_new_session=True,
            env={"PATH": os.environ["PATH"], **environment},
        )  # fmt: skip
    try:
        end = time.monotonic() + 90
        while silent := [url for url in urls if not well(url)]:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{silent[0]} does not answer: {log.read_text()[-4000:]}"
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def well(url: str) -> bool:
    try:
        return bool(requests.get(url, timeout=5).ok)
    except requests.RequestException:
        return False


def home(folder: Path, ecosystem: Ecosystem) -> Path:
    """A home directory with the specification's folders: SenVec's of the checkout, FinColl's with a .venv."""
    repositories = folder / "home/caelum/ss"
    (repositories / "fincoll").mkdir(parents=True)
    (repositories / "senvec").symlink_to(support.ROOT / "services/senvec")
    (repositories / "fincoll/.venv").symlink_to(ecosystem.prefix / "opt/caelum/fincoll/slots/fincoll@stable")
    return folder / "home"


def fincoll_by_hand(line: Line, ecosystem: Ecosystem, folder: Path) -> None:
    place, port = home(folder, ecosystem), free_port()
    environment = {
        "HOME": str(place),
        "CAELUM_ENV_FILE": str(ecosystem.prefix / "etc/caelum/fincoll@stable.env"),
        "FINCOLL_PORT": str(port),  # the deployed one holds its own
        "CAELUM_STATE_DIR": str(folder),
    }
    python = "" if ".venv" in line.line else "source .venv/bin/activate && "
    with by_hand(python + line.line, place / "caelum/ss/fincoll", [f"http://127.0.0.1:{port}/ready"], **environment):
        answer = requests.get(f"http://127.0.0.1:{port}/predict/AAPL", timeout=15).json()
        assert answer["predictions"]["AAPL"]["log_returns"]


def senvec_by_hand(line: Line, ecosystem: Ecosystem, folder: Path) -> None:
    place, base = home(folder, ecosystem), support.free_base()
    environment = {"HOME": str(place), "CAELUM_PREFIX": str(ecosystem.prefix), "CAELUM_PORT_BASE": str(base)}
    urls = [f"http://127.0.0.1:{base + port}" for port in range(18000, 18005)]
    with by_hand(line.line, place / "caelum/ss/senvec", [f"{url}/ready" for url in urls], **environment):
        assert len(requests.get(f"{urls[0]}/features/AAPL", timeout=15).json()["mask"]) == 72


def train_by_hand(line: Line, ecosystem: Ecosystem, folder: Path) -> None:
    """The script finds the deployed release by itself: the Python that is typed has no FinVec."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(Path(sys.base_prefix) / "bin" / Path(sys.executable).resolve().name)
    done = subprocess.run(
        ["bash", "-c", line.line], cwd=support.ROOT / "services/finvec", check=False, capture_output=True, text=True,
        timeout=600, env={
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CAELUM_PREFIX": str(ecosystem.prefix),
            "CAELUM_SHARE": str(folder), "CUDA_VISIBLE_DEVICES": "",  # the deployment's own share keeps its one model
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout.splitlines()[-1])
    assert (written["job"], written["version"]) == ("llm1-tech", "v1.0.0")
    assert (folder / "checkpoints/llm1-tech-v1.0.0.pt").is_file()


def table(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """The specification's own CREATE TABLE runs, and each of its columns is in the deployed table as well."""
    columns = (
        "SELECT column_name, regexp_replace(data_type, 'timestamp.*', 'timestamp') FROM information_schema.columns"
        " WHERE table_name = %s AND table_schema {} LIKE 'pg_temp%%'"
    )
    name = line.line.split()[2]
    with ecosystem.database() as connection:
        connection.execute(line.line.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1).encode())
        specified = set(connection.execute(columns.format("").encode(), [name]).fetchall())
        deployed = set(connection.execute(columns.format("NOT").encode(), [name]).fetchall())
    assert len(specified) >= 7
    assert not specified - deployed


def setting(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    key, value = local(line.line, ecosystem).split("=")
    if value.isdigit():
        value = str(int(value) + ecosystem.base)
    rendered = (ecosystem.prefix / "etc/caelum/fincoll@stable.env").read_text().splitlines()
    assert f"{key}={value}" in rendered


def configuration(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """The specification's Python, with the token header."""
    header = f"headers={{'Authorization': 'Bearer {ecosystem.operator_token}'}}"
    found: dict[str, Any] = {}
    exec(local(line.line, ecosystem).replace(").json()", f", {header}).json()"), found)  # noqa: S102 - our own data
    assert found["SENVEC_URL"] == ecosystem.url(18000, "")
    assert found["PORT"] == 8001 + ecosystem.base


def stable(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    found = re.fullmatch(r"fincoll:(v[\d.]+) → [\d.]+:(\d+) .*", line.line)
    assert found is not None
    assert ecosystem.get(int(found[2]), "/version")["version"] == found[1]


def checkpoint(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    assert (ecosystem.prefix / "share/checkpoints" / line.line).stat().st_size > 0


def registry(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """FinColl's configuration has a checkpoint for the job, whose short name the specification uses."""
    short = line.line.split("'")[1]
    config = ecosystem.get(5000, f"/api/config/fincoll/{SPECIFIED_VERSION}", token=ecosystem.operator_token)
    (job,) = (name for name in config["model_registry"] if name.split("-")[0] == short)
    assert re.fullmatch(rf".*/{job}-v\d+\.\d+\.\d+\.onnx", config["model_registry"][job]["champion"])


def database(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    with ecosystem.database() as connection:
        port = re.search(r"port (\d+)", line.line)
        assert port is not None
        assert connection.info.port == int(port[1]) + ecosystem.base


def system_health(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """Field for field what the specification shows; what is idle or was never asked has null for a text."""
    ecosystem.get(8001, "/predict/AAPL")
    same_fields("", json.loads(line.answer), ecosystem.get(5000, line.line.split()[1]))


def same_fields(where: str, shown: Any, answered: Any) -> None:
    """Equal keys and kinds; under gpu_usage the hosts differ."""
    if not isinstance(shown, dict):
        assert answered is None or type(answered) is type(shown), f"{where}: {answered!r} for {shown!r}"
        return
    if where.endswith(".gpu_usage"):
        assert answered
        return
    assert list(answered) == list(shown), where
    for key, value in shown.items():
        same_fields(f"{where}.{key}", value, answered[key])


def curl(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    said = json.loads(shell(local(line.line, ecosystem).replace("curl", f"{CURL} --fail", 1)))
    assert said["status"] == "healthy"


def unserved(line: Line, ecosystem: Ecosystem, _: Path) -> None:
    """Not yet: a problem document says so. When this fails the reason in specification.yml has become untrue."""
    if line.line.startswith("curl"):
        token = f"-H 'Authorization: Bearer {ecosystem.operator_token}'"
        problem = json.loads(shell(local(line.line, ecosystem).replace("curl", f"{CURL} {token}", 1)))
        assert (problem["status"], bool(problem["remedy"])) == (404, True)
        return
    for action in ("deploy", "promote", "rollback", "abort"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ecosystem.get(5000, line.line.replace("*", action), token=ecosystem.operator_token)
        assert refused.value.code == 404


CHECKS: dict[str, Callable[[Line, Ecosystem, Path], None]] = {
    check.__name__: check
    for check in (
        share, answers, installed_training, fincoll_by_hand, senvec_by_hand, train_by_hand, table, setting,
        configuration, stable, checkpoint, registry, database, system_health, curl, unserved,
    )
}  # fmt: skip
