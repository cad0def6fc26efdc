"""FinVec as its users start it: a whole `local` training, and every way that it may refuse or be stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from caelum_common import checkpoint
from caelum_common.market import market
from caelum_common.windows import bar_features, window
from support.checkpoints import write_checkpoint
from support.processes import KEPT
from support.senvec_stub import StubSenVec

pytestmark = pytest.mark.services

SCRIPT = Path(__file__).parents[2] / "services/finvec/train_production.py"
MODULE = ("-m", "finvec.train")


def start(*arguments, program=MODULE, **env):
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    command = [sys.executable, *map(str, program), *map(str, arguments)]
    return subprocess.Popen(command, env={**kept, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One whole training by the specification's name, with a SenVec over HTTP: result, folder, everything it said."""
    share = tmp_path_factory.mktemp("share")
    with StubSenVec() as senvec:
        before = os.times()
        arguments = ("--job", "llm1", "--preset", "local", "--bootstrap", "--progress", share / "progress")
        process = start(
            *arguments, program=(SCRIPT,), CAELUM_SHARE=str(share), SENVEC_API_URL=senvec.url, CAELUM_DATA="sample"
        )
        code, out, err = finish(process)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
    assert code == 0, err
    return {"result": json.loads(out), "out": out, "err": err, "share": share, "cpu": cpu}


def test_standard_output_is_one_line_of_json_that_names_the_files(trained):
    assert trained["out"].count("\n") == 1
    result = trained["result"]
    assert {"job", "version", "kind", "onnx", "pt", "manifest", "seconds", "metrics"} <= set(result)
    assert (result["job"], result["version"]) == ("llm1-tech", "v1.0.0")
    for name in ("onnx", "pt", "manifest"):
        assert Path(result[name]).parent == trained["share"] / "checkpoints"
        assert Path(result[name]).is_file()


def test_the_local_preset_fits_into_a_deploy(trained):
    """30 s is the promise on two idle cores. Other tests may run beside this one, so processor time is what counts."""
    assert trained["cpu"] < 30


def test_the_first_model_is_marked_as_one_that_passed_no_gate(trained):
    manifest = checkpoint.load(Path(trained["result"]["onnx"]))
    assert (manifest.bootstrap, manifest.trusted) == (True, False)
    assert manifest.seeds == (1,)
    assert manifest.trials == 5
    assert manifest.metrics["parameters"] <= 100_000
    assert manifest.data.source == "sample"
    assert manifest.data.last == "2013-03-01"
    assert "100% of the dimensions known" in manifest.data.sentiment


def test_both_candidates_are_reported_with_intervals_and_validation_picks(trained):
    manifest = checkpoint.load(Path(trained["result"]["onnx"]))
    (loser,) = {"ridge", "transformer"} - {manifest.kind}
    for metrics in (manifest.metrics, manifest.baselines[loser]):
        for slice_ in ("test", "test_all_masked"):
            for name in ("pinball", "rank_ic", "coverage_90"):
                figure = metrics[slice_][name]
                assert figure["low"] <= figure["value"] <= figure["high"]
    assert manifest.metrics["validation_pinball"] <= manifest.baselines[loser]["validation_pinball"]
    test = manifest.metrics["test"]
    assert test["pinball"]["value"] < manifest.baselines["unconditional_pinball"]["value"]
    assert 0.8 < test["coverage_90"]["value"] < 0.97


def test_onnxruntime_serves_it_from_the_bars_that_fincoll_reads(trained):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(trained["result"]["onnx"], options, providers=["CPUExecutionProvider"])
    windows = [
        window(bar_features(market("sample").bars(symbol, count=84)), None, None, end=83)
        for symbol in ("AAPL", "IBM", "MSFT")
    ]
    (answer,) = session.run([checkpoint.OUTPUT], {checkpoint.INPUT: np.stack(windows)})
    assert answer.shape == (3, 3, 5)
    assert (np.diff(answer, axis=-1) >= 0).all()
    spread = answer[..., -1] - answer[..., 0]
    assert (spread > 0.01).all()
    assert (spread < 1.0).all()
    spent = []
    for _ in range(30):
        began = time.perf_counter()
        session.run([checkpoint.OUTPUT], {checkpoint.INPUT: windows[0][None]})
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.002


def test_progress_is_told_on_standard_error_and_in_the_file_and_ends_idle(trained):
    lines = (trained["share"] / "progress").read_text().splitlines()
    assert lines[0].startswith("training v1.0.0 with preset local (as asked) into ")
    assert any("validation pinball" in line for line in lines)
    assert lines[-1].endswith("llm1-tech-v1.0.0.json (100%)")
    assert all(f"finvec llm1-tech: {line}" in trained["err"] for line in lines)
    assert "Traceback" not in trained["err"]
    status = json.loads((trained["share"] / "finvec/status" / f"{socket.gethostname()}.json").read_text())
    assert (status["status"], status["progress"]) == ("idle", 1.0)


def test_no_state_and_no_staging_folder_is_left(trained):
    names = {path.name for path in (trained["share"] / "checkpoints").iterdir()}
    assert names == {f"llm1-tech-v1.0.0.{suffix}" for suffix in ("json", "onnx", "pt")}


def test_sigterm_ends_it_with_an_idle_status_and_no_checkpoint(tmp_path):
    process = start("--job", "llm1-tech", "--preset", "local", "--out", tmp_path / "out", "--status-dir", tmp_path)
    status = tmp_path / f"{socket.gethostname()}.json"
    end = time.monotonic() + 30
    while not (status.exists() and json.loads(status.read_text())["progress"] > 0.3):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, out, _ = finish(process, timeout=10)
    assert code == 128 + signal.SIGTERM
    assert out == ""
    assert json.loads(status.read_text())["status"] == "idle"
    assert [path.suffix for path in (tmp_path / "out").glob("llm1-tech-v*")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--job", "llm9"), 2, "job 'llm9' does not exist; known: llm1-tech (llm1)"),
        ((), 2, "the following arguments are required: --job; see --help"),
        (("--job", "llm1", "--preset", "huge"), 2, "argument --preset: invalid choice: 'huge'"),
        (("--job", "llm1", "--version", "1.0"), 2, "version '1.0' is not of the form v1.2.3"),
        (("--job", "llm1", "--preset", "local", "--resume"), 1, "there is no training state"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path, arguments, code, says):
    found, out, err = finish(start(*arguments, CAELUM_SHARE=str(tmp_path)))
    assert (found, out) == (code, "")
    assert err.splitlines()[-1].startswith("finvec: ")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_version_that_is_there_is_refused_before_any_work(tmp_path):
    write_checkpoint(tmp_path, "v1.4.0")
    arguments = ("--job", "llm1", "--preset", "local", "--out", tmp_path, "--version", "v1.4.0")
    code, _, err = finish(start(*arguments))
    assert code == 2
    assert "llm1-tech-v1.4.0.json is there already and a version never changes" in err
    assert len(err.splitlines()) == 1


def test_without_a_data_source_it_ends_with_78(tmp_path):
    code, out, err = finish(start("--job", "llm1", "--preset", "local", "--out", tmp_path, CAELUM_DATA="live"))
    assert (code, out) == (78, "")
    assert "market data" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_senvec_of_another_schema_stops_it(tmp_path):
    with StubSenVec() as senvec:
        senvec.mode = "other schema"
        arguments = ("--job", "llm1", "--preset", "local", "--out", tmp_path, "--senvec", senvec.url)
        code, _, err = finish(start(*arguments))
    assert code == 1
    assert "speaks sentiment schema" in err.splitlines()[-1]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    arguments = ("--job", "llm1", "--preset", "local", "--out", tmp_path / "ok", "--status-dir", tmp_path / "file")
    code, _, err = finish(start(*arguments))
    assert code == 1
    assert "make room or choose another" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_the_specification_s_script_says_where_it_looked_without_a_release(tmp_path):
    bare = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), "--job", "llm1"],
        env={"PATH": os.environ["PATH"], "CAELUM_PREFIX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 78
    assert bare.stderr == (f"finvec: not installed in this Python nor deployed under {tmp_path}; run `make deploy`\n")


def test_the_specification_s_script_uses_the_deployed_release_and_its_settings(tmp_path):
    python = tmp_path / "opt/caelum/finvec/slots/finvec-train@llm1/bin/python"
    settings = tmp_path / "etc/caelum/finvec-train@llm1.env"
    for file in (python, settings):
        file.parent.mkdir(parents=True)
    settings.write_text(f"CAELUM_SHARE={tmp_path}\nCAELUM_DATA=live\n")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    deployed = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), "--job", "llm1", "--preset", "local"],
        env={"PATH": os.environ["PATH"], "CAELUM_PREFIX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert deployed.returncode == 78
    assert f"into {tmp_path}/checkpoints" in deployed.stderr
    assert "live market data" in deployed.stderr
