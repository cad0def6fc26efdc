"""Whoever follows a training sees how far it is, and never a training that has ended."""

import json
import os
import pty
import subprocess
import sys
from datetime import datetime

import pytest

from finvec import gpu, progress
from finvec.progress import Reporter


def _status(folder):
    return json.loads((folder / "10.32.3.27.json").read_text())


def test_the_status_is_training_inside_and_idle_after(tmp_path, capsys):
    with Reporter("llm1-tech", status=tmp_path / "10.32.3.27.json") as reporter:
        reporter.phase("fitting", upto=0.8)
        reporter.tell("step 1/2", 0.5, now=True)
        during = _status(tmp_path)
    assert during["status"] == "training"
    assert during["current_job"] == "llm1-tech"
    assert during["progress"] == pytest.approx(0.4)
    assert datetime.fromisoformat(during["eta"]) >= datetime.fromisoformat(during["updated_at"])
    after = _status(tmp_path)
    assert (after["status"], after["current_job"], after["eta"]) == ("idle", None, None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_status_is_idle_however_the_training_ends(tmp_path, error):
    with pytest.raises(error), Reporter("llm1-tech", status=tmp_path / "10.32.3.27.json"):
        raise error
    assert _status(tmp_path)["status"] == "idle"


def test_lines_are_appended_to_the_progress_file_and_not_too_many(tmp_path):
    log = tmp_path / "progress"
    log.write_text("before\n")
    with Reporter("llm1-tech", log=log) as reporter:
        reporter.phase("fitting", upto=1.0)
        for step in range(50):
            reporter.tell(f"step {step}/50", step / 50)
        reporter.say("sentiment: none")
    assert log.read_text().splitlines() == ["before", "fitting (0%)", "sentiment: none"]


def test_lines_come_again_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with Reporter("llm1-tech", log=tmp_path / "log") as reporter:
        reporter.phase("fitting", upto=0.5)
        reporter.tell("step 1/2", 0.5)
    assert (tmp_path / "log").read_text().splitlines() == ["fitting (0%)", "step 1/2 (25%)"]


def test_seconds_are_split_by_phase():
    with Reporter("llm1-tech") as reporter:
        reporter.phase("reading", upto=0.5)
        reporter.phase("fitting", upto=1.0)
        assert list(reporter.finish()) == ["start", "reading", "fitting"]


def test_without_a_gpu_tool_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.usage() == "none"


@pytest.mark.parametrize(
    ("says", "usage"),
    [
        ("GPU-1, RTX 3080, 7\\nGPU-2, RTX 3080, 93\\n", "93%"),
        ("GPU-1, RTX 3080, 0\\n", "idle"),
        ("GPU-1, RTX 3080, [N/A]\\n", "none"),
    ],
)
def test_gpu_usage_is_the_busiest_gpu_s(monkeypatch, tmp_path, says, usage):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.usage() == usage


def test_a_terminal_gets_a_bar():
    script = (
        "from finvec.progress import Reporter\n"
        "with Reporter('llm1-tech') as reporter:\n"
        "    reporter.phase('fitting', upto=1.0)\n"
        "    reporter.tell('step 2/2', 1.0, now=True)\n"
    )
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", script],
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            check=True,
        )
        shown = os.read(controller, 65536).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert "━" in shown
    assert "100%" in shown
    assert "finvec llm1-tech:" not in shown
