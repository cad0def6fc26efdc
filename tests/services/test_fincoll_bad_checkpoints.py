"""A checkpoint that must not be served is refused in one line at a reload and at a deploy; the old model serves on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from caelum_common.checkpoint import sha256_of
from support.checkpoints import JOB, write_checkpoint
from support.fincoll import EnvFile, fincoll, reload
from support.modules import run_module
from support.processes import Service, free_port

pytest_plugins = ["support.postgres", "support.modules"]
pytestmark = pytest.mark.services

Spoil = Callable[[Path], None]
OLD, NEW = "v1.0.0", "v1.1.0"


def truncated(onnx: Path) -> None:
    onnx.write_bytes(onnx.read_bytes()[:-100])


def tampered(onnx: Path) -> None:
    content = bytearray(onnx.read_bytes())
    content[len(content) // 2] ^= 1
    onnx.write_bytes(content)


def empty(onnx: Path) -> None:
    onnx.write_bytes(b"")


def truncated_manifest(onnx: Path) -> None:
    manifest = onnx.with_suffix(".json")
    manifest.write_bytes(manifest.read_bytes()[:-10])


def gone(onnx: Path) -> None:
    onnx.unlink()


def other_schema(onnx: Path) -> None:
    _rewrite(onnx, schema_hash="f" * 64)


def other_job(onnx: Path) -> None:
    _rewrite(onnx, job="llm3-yieldmax")


def vouched_rubbish(onnx: Path) -> None:
    onnx.write_bytes(b"no graph")
    manifest = json.loads(onnx.with_suffix(".json").read_text())
    _rewrite(onnx, files={**manifest["files"], "onnx": {"name": onnx.name, "sha256": sha256_of(onnx)}})


def _rewrite(onnx: Path, **changes: Any) -> None:
    path = onnx.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


SPOILS: dict[Spoil, str] = {
    truncated: "is not what its manifest describes",
    tampered: "is not what its manifest describes",
    empty: "is not what its manifest describes",
    truncated_manifest: "is not a manifest",
    gone: "cannot be read",
    other_schema: "was trained for sentiment schema ffff",
    other_job: "is a model of job llm3-yieldmax",
    vouched_rubbish: "does not load",
}
# On the share files are checked against what was registered; what only a model's reader sees, FinColl refuses.
SEEN_ON_THE_SHARE: dict[Spoil, str] = {
    truncated: "is not what its manifest describes",
    tampered: "is not what its manifest describes",
    empty: "is not what its manifest describes",
    truncated_manifest: "is not the manifest that was registered|is not a manifest",
    gone: "cannot be copied",
    other_schema: "is not the manifest that was registered",
    other_job: "does not describe|is not the manifest that was registered",
}


@pytest.fixture
def env(tmp_path: Path) -> EnvFile:
    return EnvFile(tmp_path)


@pytest.fixture
def running(env: EnvFile, tmp_path: Path) -> Iterator[tuple[Service, httpx.Client]]:
    env.champion(write_checkpoint(tmp_path / "old", OLD))
    with fincoll(env) as started:
        yield started


def serves(client: httpx.Client, version: str) -> bool:
    ready = client.get("/ready").status_code == 200
    return ready and client.get("/predict/AAPL").json()["model"]["version"] == version


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_at_a_reload_it_is_refused_and_at_a_restart_it_is_named(
    env: EnvFile, running: tuple[Service, httpx.Client], tmp_path: Path, spoil: Spoil
) -> None:
    service, client = running
    bad = write_checkpoint(tmp_path / "new", NEW)
    spoil(bad)
    env.champion(bad)
    answer = reload(client)
    assert answer.status_code == 409, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert SPOILS[spoil] in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert serves(client, OLD)
    assert "raceback" not in service.log() + answer.text

    settings = {"CAELUM_ENV_FILE": str(env.path), "FINCOLL_PORT": str(free_port())}
    command = [sys.executable, "-m", "fincoll.server"]
    done = subprocess.run(command, env=settings, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78, "a supervisor must not try it again"
    assert re.fullmatch(r"cannot start: [^\n]+\n", done.stderr)
    assert SPOILS[spoil] in done.stderr
    assert serves(client, OLD)


@pytest.mark.parametrize("spoil", SEEN_ON_THE_SHARE, ids=lambda spoil: spoil.__name__)
def test_at_a_deploy_it_is_refused_before_anything_changes(
    login: dict[str, Any], env: EnvFile, tmp_path: Path, spoil: Spoil
) -> None:
    share, host = tmp_path / "share", tmp_path / "host"
    given = {"database": login, "job": JOB.name, "checkpoints": str(share), "serving_dir": str(host)}
    write_checkpoint(share, OLD)
    served = run_module("caelum_model", given)
    env.champion(Path(served["registry"][JOB.name]["champion"]))
    with fincoll(env) as (_, client):
        before = {path.name: path.read_bytes() for path in host.iterdir()}
        bad = write_checkpoint(share, NEW, shift=1.0)
        assert "msg" not in run_module("caelum_model", {**given, "state": "registered"})
        promoted = {**given, "state": "aliased", "alias": "champion", "version": NEW}
        assert run_module("caelum_model", promoted)["changed"]
        spoil(bad)
        refused = run_module("caelum_model", given)
        assert refused.get("failed"), refused
        assert re.search(SEEN_ON_THE_SHARE[spoil], refused["msg"]), refused["msg"]
        assert "\n" not in refused["msg"]
        after = {path.name: path.read_bytes() for path in host.iterdir()}
        assert f"{JOB.name}-{NEW}.json" not in after, "without its manifest nothing is a checkpoint"
        assert before.items() <= after.items(), "the old model's files must stay"
        assert reload(client).status_code == 200
        assert serves(client, OLD)
