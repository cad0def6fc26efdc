"""What the timers of several hosts start: one trains, one job per GPU, and nothing is trained twice."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caelum_common import checkpoint
from finvec import gpu, scheduled
from finvec.errors import Busy
from finvec.settings import FinvecSettings
from support.checkpoints import JOB, write_checkpoint
from support.processes import KEPT

pytestmark = pytest.mark.services


class Host:
    """One host of a fleet: its own state folder, a share with the others, and the GPUs that its driver tells of."""

    def __init__(self, folder: Path, share: Path, address: str) -> None:
        self.bin = folder / address / "bin"
        self.bin.mkdir(parents=True)
        kept = {key: os.environ[key] for key in KEPT if key in os.environ}
        self.env = {
            **kept,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "CAELUM_ADDRESS": address,
            "CAELUM_SHARE": str(share),
            "CAELUM_STATE_DIR": str(folder / address / "state"),
            "FINVEC_CPU_WAIT_S": "0",
        }

    def gpu(self, use: int) -> None:
        tool = self.bin / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\necho 'GPU-1, NVIDIA GeForce RTX 3080, {use}'\n")
        tool.chmod(0o755)

    def start(self, module: str = "finvec.scheduled", *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def train(self) -> tuple[int, str, str]:
        process = self.start("finvec.scheduled", "--job", "llm1")
        out, err = process.communicate(timeout=180)
        assert "Traceback" not in err
        return process.returncode, out, err


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def hosts(tmp_path: Path, share: Path) -> list[Host]:
    return [Host(tmp_path, share, address) for address in ("10.32.3.27", "10.32.3.62")]


def test_one_of_two_hosts_trains_and_later_tries_find_nothing_new(hosts: list[Host], share: Path) -> None:
    write_checkpoint(share / "checkpoints", "v1.0.0")  # a bootstrap: it counts for nothing
    (share / "checkpoints" / ".export-llm1-tech-v1.1.0dead").mkdir()
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(Host.train, hosts))
    assert [code for code, _, _ in done] == [0, 0]
    (winner,) = [(out, err) for _, out, err in done if out]
    (other,) = [err for _, out, err in done if not out]
    assert "trains it since" in other or "nothing new" in other
    assert json.loads(winner[0])["version"] == "v1.1.0"
    assert "is no champion yet: register it" in winner[1]
    assert "no GPU here: it would train on the CPU" in winner[1]
    manifest = checkpoint.load(share / "checkpoints" / "llm1-tech-v1.1.0.onnx")
    assert (manifest.bootstrap, manifest.metrics["device"]) == (False, "the CPU")
    assert list((share / "finvec" / "claims").iterdir()) == []
    assert not list((share / "checkpoints").glob(".*"))
    code, out, err = hosts[0].train()
    assert (code, out) == (0, "")
    assert err == "finvec llm1-tech: nothing new: v1.1.0 was trained up to 2013-03-01, the last session\n"


def test_a_host_whose_gpu_others_use_steps_aside(hosts: list[Host], share: Path) -> None:
    hosts[0].gpu(use=64)
    code, out, err = hosts[0].train()
    assert (code, out) == (75, "")
    assert err == "finvec: the GPU NVIDIA GeForce RTX 3080 is used at 64% by others\n"
    assert not (share / "finvec" / "claims").exists()


def test_sigterm_leaves_a_state_to_go_on_from_and_no_claim(hosts: list[Host], share: Path) -> None:
    process = hosts[0].start("finvec.scheduled", "--job", "llm1")
    state = share / "checkpoints" / ".llm1-tech-local.state.pt"
    end = time.monotonic() + 60
    while not state.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (share / "finvec" / "claims" / "llm1-tech.json").exists()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)
    assert process.returncode == 128 + signal.SIGTERM
    assert not list((share / "finvec" / "claims").iterdir())
    assert not list((share / "checkpoints").glob("llm1-tech-v*"))
    code, _, err = hosts[1].train()
    assert code == 0
    assert "goes on from the state of an unfinished training" in err


def test_one_job_per_gpu_and_a_second_gpu_takes_the_second_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [gpu.Gpu("GPU-1", "RTX 3080", 0), gpu.Gpu("GPU-2", "RTX 3080", 3)]
    monkeypatch.setattr(gpu, "seen", lambda: both)
    with gpu.device(tmp_path) as first:
        assert first == both[0]
        with gpu.device(tmp_path) as second:
            assert second == both[1]
            with pytest.raises(Busy, match="the GPU RTX 3080 trains another job of this host; the GPU RTX 3080"):
                gpu.device(tmp_path).__enter__()
    with gpu.device(tmp_path) as again:
        assert again == both[0]


def test_live_data_know_the_exchange_s_holidays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"source": "live", "hash": "0" * 64, "first": "2015-01-02", "last": "2025-12-24"}
    write_checkpoint(tmp_path / "checkpoints", "v1.3.0", bootstrap=False, data=data)
    monkeypatch.delenv("CAELUM_ENV_FILE", raising=False)
    settings = FinvecSettings(caelum_share=tmp_path, caelum_data="live")
    christmas, day_after = datetime(2025, 12, 25, 22, 30, tzinfo=UTC), datetime(2025, 12, 26, 22, 30, tzinfo=UTC)
    assert scheduled.nothing_new(settings, JOB, christmas) == (
        "nothing new: v1.3.0 was trained up to 2025-12-24, the last session; the exchange is closed on 2025-12-25"
    )
    assert scheduled.nothing_new(settings, JOB, day_after) == ""


def test_every_host_tells_how_busy_its_gpus_are(hosts: list[Host], share: Path) -> None:
    hosts[0].gpu(use=85)
    for host in hosts:
        process = host.start("finvec.gpu_report")
        assert process.wait(30) == 0
    told = {path.name: json.loads(path.read_text())["gpu_usage"] for path in (share / "finvec/status").iterdir()}
    assert told == {"10.32.3.27.gpu.json": "85%", "10.32.3.62.gpu.json": "none"}
