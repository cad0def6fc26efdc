"""A share that hangs fails no prediction and no health page, and keeps nothing from stopping."""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.host import share as shares
from ansible.module_utils.caelum.preflight import fleet

from support.checkpoints import JOB, write_checkpoint
from support.fincoll import EnvFile, fincoll
from support.hanging_share import Share, share
from support.pim import eventually, web
from support.postgres import Database
from support.processes import Service
from support.tiny_release import tiny_repository

pytest_plugins = ["support.postgres"]
pytestmark = [pytest.mark.services, pytest.mark.package("bindfs")]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Share]:
    with share(tmp_path) as found:
        yield found


def timed(service: Service, path: str) -> tuple[Any, float]:
    """The answer of GET `path`, and how many seconds it took."""
    begin = time.monotonic()
    answer = httpx.get(service.url + path, timeout=5, trust_env=False).raise_for_status()
    return answer, time.monotonic() - begin


def stop_s(service: Service) -> float:
    """Seconds that a clean stop took."""
    begin = time.monotonic()
    assert service.stop() == 0
    return time.monotonic() - begin


def threads(service: Service) -> int:
    return len(list(Path(f"/proc/{service.pid}/task").iterdir()))


def report(behind: Path, host: str) -> None:
    folder = behind / "finvec" / "status"
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    (folder / f"{host}.gpu.json").write_text(json.dumps({"gpu_usage": "85%", "updated_at": now}))


def test_pim_tells_what_it_knew_and_piles_nothing_up(
    migrated_database: Database, tmp_path: Path, mounted: Share
) -> None:
    report(mounted.behind, "10.32.3.27")
    status = str(mounted.path / "finvec" / "status")
    with web(migrated_database, tmp_path, FINVEC_STATUS_DIR=status) as pim:
        health, _ = timed(pim, "/api/system/health")
        assert health.json()["services"]["finvec"]["gpu_usage"] == {"10.32.3.27": "85%"}
        mounted.hang()
        time.sleep(3)
        before = threads(pim)
        for _ in range(20):
            health, took = timed(pim, "/api/system/health")
            assert took < 1.0
            assert health.json()["services"]["finvec"]["gpu_usage"] == {"10.32.3.27": "85%"}
            assert timed(pim, "/ready")[1] < 1.0
            time.sleep(0.1)
        assert timed(pim, "/")[1] < 2.0
        assert threads(pim) <= before
        mounted.heal()
        report(mounted.behind, "10.32.3.44")
        eventually(lambda: len(timed(pim, "/api/system/health")[0].json()["services"]["finvec"]["gpu_usage"]) == 2)
        mounted.hang()
        time.sleep(2.5)
        assert stop_s(pim) < 3


def test_pim_starts_while_the_share_hangs(migrated_database: Database, tmp_path: Path, mounted: Share) -> None:
    mounted.hang()
    with web(migrated_database, tmp_path, FINVEC_STATUS_DIR=str(mounted.path / "finvec" / "status")) as pim:
        health, took = timed(pim, "/api/system/health")
        assert took < 1.5
        assert health.json()["services"]["finvec"]["status"] == "unknown"
        report(mounted.behind, "10.32.3.27")
        mounted.heal()
        eventually(lambda: timed(pim, "/api/system/health")[0].json()["services"]["finvec"]["status"] == "idle")


def test_fincoll_predicts_reloads_and_stops(tmp_path: Path, mounted: Share) -> None:
    model = write_checkpoint(tmp_path / "models")
    env = EnvFile(tmp_path, CAELUM_SHARE=mounted.path, CREDENTIALS_DIR=mounted.path)
    env.champion(model)
    mounted.hang()
    with fincoll(env) as (service, client):
        for _ in range(50):
            assert client.get("/predict/AAPL", timeout=1).status_code == 200
        assert timed(service, "/ready")[1] < 1
        token = {"Authorization": "Bearer a-token-for-tests"}
        body = {"alias": "champion", "job": JOB.name}
        assert client.post("/models/reload", json=body, headers=token, timeout=2).status_code == 200
        assert stop_s(service) < 3


@pytest.mark.timeout(60)
def test_a_deployment_is_refused_though_the_share_is_a_folder_of_what_hangs(
    mounted: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's table of mounts knows nothing of such a folder, so that it must be asked."""
    folder = mounted.path / "ss"
    folder.mkdir()
    monkeypatch.setattr(shares, "ANSWER_S", 0.5)
    wanted = {"path": str(folder), "source": "", "type": "nfs", "options": ""}
    assert shares.plan(wanted) == []
    mounted.hang()
    for look in (lambda: shares.plan(wanted), lambda: fleet._share(folder, "")):
        with pytest.raises(Refused, match=r"does not answer within 0\.5 s"):
            look()


@pytest.mark.timeout(120)
def test_releases_are_not_verified_by_a_share_that_hangs(
    tmp_path: Path, mounted: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = tiny_repository(tmp_path / "tiny")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.index))
    tiny.run("built")
    tiny.run("installed")
    shutil.copytree(tiny.store, mounted.path / "releases")
    store = mounted.path / "releases"
    assert tiny.run("verified", store=store, timeout=20)["findings"] == []
    mounted.hang()
    with pytest.raises(Refused, match="did not answer for 1 s"):
        tiny.run("verified", store=store, timeout=1)
