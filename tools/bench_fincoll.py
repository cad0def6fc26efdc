"""What FinColl adds to its model: p50 and p99 of requests beside those of the bare onnxruntime call.

    python tools/bench_fincoll.py --onnx llm1-tech-v1.0.0.onnx --senvec http://127.0.0.1:18000

with the Python of FinColl's release. It starts FinColls of its own, one beside that SenVec (left out without it) and
one beside an address that nobody answers at, on a market of 32 symbols that repeats the sample's bars under made-up
names. All calls are made in turns, one of each kind in a round, so that a busy machine slows them alike.
"""

import argparse
import contextlib
import csv
import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caelum_common import checkpoint
from caelum_common.market import market
from caelum_common.windows import CHANNELS, TOKENS
from fincoll.predictor import Predictor

WARM_UP = 20
START_LIMIT_S = 30.0
SETTLE_S = 5.0
BATCH = 32
SESSIONS = 800

Call = Callable[[], object]


class Timing(NamedTuple):
    """Milliseconds of one call."""

    p50: float
    p99: float


def timed(calls: Mapping[str, Call], rounds: int) -> dict[str, Timing]:
    """p50 and p99 of each call over `rounds` rounds, in which each is made once."""
    for _ in range(WARM_UP):
        for call in calls.values():
            call()
    took = {name: np.empty(rounds) for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            took[name][number] = time.perf_counter() - begin
    return {
        name: Timing(*(float(1e3 * share) for share in np.percentile(each, (50, 99)))) for name, each in took.items()
    }


def bare_call(onnx: Path, count: int) -> Call:
    """`count` windows through the model as FinColl loads it."""
    predictor = Predictor.load(onnx)
    tokens = np.random.default_rng(0).normal(size=(count, TOKENS, CHANNELS)).astype(np.float32)
    return lambda: predictor.predict(tokens)


class Caller:
    """Asks for predictions over one connection."""

    def __init__(self, url: str, symbols: Sequence[str]) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        self._count = len(symbols)
        self._body = json.dumps({"symbols": list(symbols), "job": "llm1"})

    def __call__(self) -> bool:
        """Whether the prediction was degraded; SystemExit for an answer that is none."""
        self._connection.request("POST", "/predict", self._body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200 or len(json.loads(content)["predictions"]) != self._count:
            raise SystemExit(f"POST /predict answered {answer.status}: {content[:300].decode()}")
        return bool(json.loads(content)["degraded"])

    def version(self) -> bytes:
        """The least that FinColl answers: what HTTP alone costs."""
        self._connection.request("GET", "/version")
        return self._connection.getresponse().read()

    def settle(self, degraded: bool) -> None:
        """Asks until answers are (not) degraded; SystemExit when they never are."""
        end = time.monotonic() + SETTLE_S
        while self() != degraded:
            if time.monotonic() > end:
                raise SystemExit(f"answers stay degraded={not degraded}; is SenVec well?")
            time.sleep(0.1)
        self._connection.close()  # it opens again by itself; FinColl would close one that idles while others settle


def made_up_market(folder: Path, symbols: Sequence[str]) -> Path:
    """A stand-in for the package of sample bars, in which `symbols` have the bars of the sample's in turn."""
    with gzip.open(market("sample").path, "rt", encoding="ascii", newline="") as lines:
        head, *rows = csv.reader(lines)
    bars: dict[str, list[list[str]]] = {}
    for row in rows:
        bars.setdefault(row[0], []).append(row)
    whole = [found for _, found in sorted(bars.items()) if len(found) > SESSIONS]
    data = folder / "bokeh_sampledata/_data/stocks.csv.gz"
    data.parent.mkdir(parents=True)
    with gzip.open(data, "wt", encoding="ascii", newline="") as file:
        written = csv.writer(file)
        written.writerow(head)
        for place, symbol in enumerate(symbols):
            like = sorted(whole[place % len(whole)], key=lambda row: row[1])[-SESSIONS:]
            written.writerows([symbol, *row[1:]] for row in like)
    package = folder / "bokeh_sampledata-0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: bokeh_sampledata\nVersion: 0\n")
    (package / "RECORD").write_text("bokeh_sampledata/_data/stocks.csv.gz,,\n")
    return folder


@contextlib.contextmanager
def fincoll(onnx: Path, senvec: str, bars: Path) -> Iterator[str]:
    """The address of a FinColl that serves `onnx`, asks the SenVec at `senvec` and knows the market in `bars`."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(bars),
        "FINCOLL_PORT": str(port),
        "SENVEC_API_URL": senvec,
        "MODEL_REGISTRY": json.dumps({checkpoint.load(onnx).job: {"champion": str(onnx.resolve())}}),
    }
    process = subprocess.Popen([sys.executable, "-m", "fincoll.server"], env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Returns when it listens; SystemExit when the process ends before."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("FinColl did not start; its line above says why")


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(onnx: Path, senvec: str | None, rounds: int) -> dict[str, dict[str, Timing]]:
    """Timings by batch size ("1", "32") and kind of call."""
    symbols = [f"MADEUP{number}" for number in range(BATCH)]
    sizes = {"1": symbols[:1], str(BATCH): symbols}
    calls: dict[str, Call] = {f"{size} bare": bare_call(onnx, len(names)) for size, names in sizes.items()}
    with contextlib.ExitStack() as stack:
        bars = made_up_market(Path(stack.enter_context(tempfile.TemporaryDirectory())), symbols)
        beside = {"SenVec up": senvec, "SenVec down": f"http://127.0.0.1:{free_port()}"}
        for kind, url in beside.items():
            if url:
                address = stack.enter_context(fincoll(onnx, url, bars))
                for size, names in sizes.items():
                    caller = Caller(address, names)
                    caller.settle(degraded=kind == "SenVec down")
                    calls[f"{size} {kind}"] = caller
        calls["1 no prediction, GET /version"] = Caller(address, symbols[:1]).version
        found = timed(calls, rounds)
    return {
        size: {name.partition(" ")[2]: timing for name, timing in found.items() if name.split()[0] == size}
        for size in sizes
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, and writes the figures to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path, required=True, help="a checkpoint, its manifest beside it")
    parser.add_argument("--senvec", help="a SenVec that runs")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    options = parser.parse_args(arguments)
    found = measure(options.onnx, options.senvec, options.rounds)
    print(f"{'':36} {'p50 ms':>8} {'p99 ms':>8}   {'p50':>6} {'p99':>6}   p50 over bare")
    for size, timings in found.items():
        bare = timings["bare"]
        for kind, timing in timings.items():
            ratios = f"{timing.p50 / bare.p50:5.1f}x {timing.p99 / bare.p99:5.1f}x"
            over = timing.p50 - bare.p50
            print(f"{f'batch {size:>2}, {kind}':36} {timing.p50:8.2f} {timing.p99:8.2f}   {ratios}   {over:+.2f} ms")
    if options.json:
        document = {size: {kind: each._asdict() for kind, each in timings.items()} for size, timings in found.items()}
        options.json.write_text(json.dumps(document))


if __name__ == "__main__":
    main()
