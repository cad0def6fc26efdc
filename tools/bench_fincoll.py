"""What FinColl adds to its model: p50 and p99 of one request beside those of the bare onnxruntime call.

    python tools/bench_fincoll.py --url http://127.0.0.1:8001 --onnx llm1-tech-v1.0.0.onnx

measures against a running FinColl, which answers with SenVec or without as things are. Without --url it starts
FinColls of its own from --onnx, one beside the SenVec at --senvec (left out without it), and one beside an address that
nobody answers at.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caelum_common import checkpoint
from caelum_common.windows import CHANNELS, TOKENS
from fincoll.predictor import Predictor

WARM_UP = 50
START_LIMIT_S = 30.0


class Timing(NamedTuple):
    """Milliseconds of one call."""

    p50: float
    p99: float


def timed(call: Callable[[], object], count: int) -> Timing:
    """p50 and p99 of `count` calls, one after the other."""
    for _ in range(WARM_UP):
        call()
    took = np.empty(count)
    for number in range(count):
        begin = time.perf_counter()
        call()
        took[number] = time.perf_counter() - begin
    return Timing(*(1e3 * np.percentile(took, (50, 99))))


def bare_call(onnx: Path) -> Callable[[], object]:
    """One window through the model as FinColl loads it."""
    predictor = Predictor.load(onnx)
    tokens = np.random.default_rng(0).normal(size=(1, TOKENS, CHANNELS)).astype(np.float32)
    return lambda: predictor.predict(tokens)


class Caller:
    """Asks for one prediction over one connection."""

    def __init__(self, url: str, symbol: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=10)
        self._body = json.dumps({"symbols": [symbol], "job": "llm1"})

    def __call__(self) -> bool:
        """Whether the prediction was degraded; SystemExit for an answer that is none."""
        self._connection.request("POST", "/predict", self._body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"POST /predict answered {answer.status}: {content[:300].decode()}")
        return bool(json.loads(content)["degraded"])

    def settle(self, degraded: bool) -> None:
        """Asks until answers are (not) degraded, at most five seconds."""
        end = time.monotonic() + 5
        while self() != degraded and time.monotonic() < end:
            time.sleep(0.1)


@contextlib.contextmanager
def fincoll(onnx: Path, senvec: str) -> Iterator[str]:
    """The address of a FinColl that serves `onnx` and asks the SenVec at `senvec`."""
    port = free_port()
    job = checkpoint.load(onnx).job
    environment = {
        **os.environ,
        "FINCOLL_PORT": str(port),
        "SENVEC_API_URL": senvec,
        "MODEL_REGISTRY": json.dumps({job: {"champion": str(onnx.resolve())}}),
    }
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "fincoll.server"], env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for_answer(port, process)
        print(f"started; first answer after {time.perf_counter() - begin:.2f} s, ", end="")
        print(f"{pss_mib(process.pid):.0f} MiB PSS then, ", end="")
        yield f"http://127.0.0.1:{port}"
        print(f"{pss_mib(process.pid):.0f} MiB at the end")
    finally:
        process.terminate()
        process.wait(10)


def wait_for_answer(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Returns with the first prediction; SystemExit when the process ends before."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            Caller(f"http://127.0.0.1:{port}", "AAPL")()
            return
        time.sleep(0.01)
    raise SystemExit("FinColl did not start; its line above says why")


def pss_mib(pid: int) -> float:
    """Proportional set size in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(name: str, timing: Timing, bare: Timing) -> None:
    """One line of the table."""
    ratios = f"{timing.p50 / bare.p50:5.1f}x {timing.p99 / bare.p99:5.1f}x"
    print(f"{name:28} {timing.p50:8.2f} {timing.p99:8.2f}   {ratios}   {timing.p50 - bare.p50:+.2f} ms")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path, required=True, help="a checkpoint, its manifest beside it")
    parser.add_argument("--url", help="a FinColl that runs and serves this checkpoint")
    parser.add_argument("--senvec", help="a SenVec that runs")
    parser.add_argument("--symbol", default="AAPL")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args(arguments)

    bare = timed(bare_call(options.onnx), options.count)
    results: dict[str, Timing] = {}
    if options.url:
        caller = Caller(options.url, options.symbol)
        name = "request, degraded" if caller() else "request, SenVec up"
        results[name] = timed(caller, options.count)
    else:
        for senvec, degraded in ((options.senvec, False), (f"http://127.0.0.1:{free_port()}", True)):
            if senvec:
                with fincoll(options.onnx, senvec) as url:
                    caller = Caller(url, options.symbol)
                    caller.settle(degraded)
                    results["request, SenVec down" if degraded else "request, SenVec up"] = timed(caller, options.count)
    print(f"{'':28} {'p50 ms':>8} {'p99 ms':>8}   {'p50':>6} {'p99':>6}   p50 over bare")
    report("bare onnxruntime call", bare, bare)
    for name, timing in results.items():
        report(name, timing, bare)


if __name__ == "__main__":
    main()
