"""FinColl through bad days: nothing to start with, SenVec away, models swapped under load, data lost."""

import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.checkpoints import JOB, write_checkpoint
from support.fincoll import EnvFile, fincoll, private_market_data, reload
from support.processes import free_port
from support.senvec_stub import GROUPS, StubSenVec

pytestmark = pytest.mark.services


def start(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A FinColl that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "fincoll.server"], env=env, check=False, capture_output=True, text=True, timeout=30
    )


def refusal(env: dict[str, str]) -> str:
    """The one line with which it refuses to start."""
    done = start({"FINCOLL_PORT": str(free_port()), **env})
    assert done.returncode == 78, done.stderr
    assert re.fullmatch(r"cannot start: [^\n]+\n", done.stderr), done.stderr
    return done.stderr


def until(condition: Callable[[], bool], limit_s: float) -> float:
    """Seconds until `condition` held."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < limit_s, "the condition did not come to hold in time"
        time.sleep(0.05)
    return time.monotonic() - begin


def test_without_a_model_it_says_which_and_how_to_get_it() -> None:
    line = "no champion for job llm1-tech; train one with `make train JOB=llm1-tech`, or deploy, which does it"
    assert line in refusal({})
    assert line in refusal({"MODEL_REGISTRY": '{"llm1": {"previous": "/nowhere.onnx"}}'})


def test_a_model_that_must_not_be_served_is_named(tmp_path: Path) -> None:
    env = EnvFile(tmp_path)
    path = write_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    env.champion(path)
    assert f"{path} is not what its manifest describes" in refusal({"CAELUM_ENV_FILE": str(env.path)})
    env.champion(tmp_path / "llm1-tech-v9.0.0.onnx")
    assert "llm1-tech-v9.0.0.json cannot be read" in refusal({"CAELUM_ENV_FILE": str(env.path)})
    env.write(MODEL_REGISTRY={"llm9": {"champion": path}})
    assert "job 'llm9' does not exist" in refusal({"CAELUM_ENV_FILE": str(env.path)})


def test_without_market_data_it_says_which_source(tmp_path: Path) -> None:
    env = EnvFile(tmp_path, CAELUM_DATA="live")
    env.champion(write_checkpoint(tmp_path))
    assert "live" in refusal({"CAELUM_ENV_FILE": str(env.path)})
    env.write(CAELUM_DATA="sample")
    private_market_data(tmp_path / "site").unlink()
    line = refusal({"CAELUM_ENV_FILE": str(env.path), "PYTHONPATH": str(tmp_path / "site")})
    assert "the sample market data is missing" in line


def test_market_data_lost_later_shows_in_ready_and_not_as_a_crash(tmp_path: Path) -> None:
    data = private_market_data(tmp_path / "site")
    env = EnvFile(tmp_path)
    env.champion(write_checkpoint(tmp_path))
    with fincoll(env, {"PYTHONPATH": str(tmp_path / "site")}) as (_, client):
        assert client.get("/predict/AAPL").status_code == 200
        data.unlink()
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert f"the market data file {data} is gone" in ready.json()["detail"]
        assert client.get("/predict/MSFT").status_code == 503
        assert client.get("/bars/MSFT").status_code == 503
        assert client.get("/predict/AAPL").status_code == 200, "what is in memory still serves"
        assert client.get("/health").status_code == 200


def one_second_of_requests(client: httpx.Client) -> tuple[float, float]:
    """Median and longest time of a request, in seconds."""
    took = []
    end = time.monotonic() + 1
    while time.monotonic() < end:
        begin = time.perf_counter()
        assert client.get("/predict/AAPL").status_code == 200
        took.append(time.perf_counter() - begin)
    return statistics.median(took), max(took)


@pytest.mark.parametrize("fault", ["stopped", "hanging"])
def test_senvec_goes_and_returns_and_fincoll_answers_at_full_speed(tmp_path: Path, fault: str) -> None:
    with StubSenVec() as senvec:
        env = EnvFile(tmp_path, SENVEC_API_URL=senvec.url)
        env.champion(write_checkpoint(tmp_path))
        with fincoll(env) as (service, client):
            whole = client.get("/predict/AAPL").json()
            assert whole["degraded"] is False
            usual, _ = one_second_of_requests(client)

            if fault == "stopped":
                senvec.stop()
            else:
                senvec.mode = "hang"
            until(lambda: client.get("/predict/AAPL").json()["degraded"], 6)
            without = client.get("/predict/AAPL").json()
            state = without["predictions"]["AAPL"]["senvec"]
            assert state == {
                "degraded": True, "stale": False, "stale_s": None,
                "missing": list(GROUPS), "age_s": dict.fromkeys(GROUPS),
            }  # fmt: skip
            returns = [answer["predictions"]["AAPL"]["log_returns"] for answer in (whole, without)]
            assert returns[0] != returns[1], "the model is told that sentiment is masked"
            until(lambda: client.get("/health").json()["degraded"], 3)
            assert client.get("/ready").status_code == 200, "SenVec is optional"
            assert "fincoll_degraded 1.0" in client.get("/metrics").text
            median, longest = one_second_of_requests(client)
            assert median < usual + 0.005
            assert longest < 0.2, "no request waits for a SenVec that is known to be away"

            if fault == "stopped":
                senvec.start()
            else:
                senvec.mode = "ok"
            assert until(lambda: not client.get("/predict/AAPL").json()["degraded"], 5) < 2.5
            assert client.get("/predict/AAPL").json() == whole
            assert client.get("/health").json()["degraded"] is False
            assert service.process.poll() is None


def test_fincoll_starts_without_senvec_and_finds_it_later(tmp_path: Path) -> None:
    senvec = StubSenVec()
    env = EnvFile(tmp_path, SENVEC_API_URL=senvec.url)
    env.champion(write_checkpoint(tmp_path))
    with fincoll(env) as (_, client):
        assert client.get("/predict/AAPL").json()["degraded"] is True
        with senvec:
            until(lambda: not client.get("/predict/AAPL").json()["degraded"], 5)


@pytest.fixture(scope="module")
def swappable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EnvFile, httpx.Client, Path]]:
    """A FinColl whose champion is v1.0.0, its environment file, and the folder of checkpoints."""
    folder = tmp_path_factory.mktemp("swappable")
    env = EnvFile(folder)
    env.champion(write_checkpoint(folder, "v1.0.0"))
    with fincoll(env) as (_, client):
        yield env, client, folder


def test_a_reload_needs_a_token_and_takes_no_path(swappable: tuple[EnvFile, httpx.Client, Path]) -> None:
    _, client, _ = swappable
    assert client.post("/models/reload", json={"alias": "champion"}).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert client.post("/models/reload", json={"alias": "champion"}, headers=wrong).status_code == 401
    for body in ({"alias": "champion", "path": "/x.onnx"}, {"alias": "champion", "job": 1}, {"alias": ""}):
        assert reload(client, body).status_code == 422
    assert reload(client, {"alias": "../../etc"}).status_code == 404
    assert reload(client, {"alias": "challenger"}).status_code == 404
    assert reload(client, {"alias": "champion", "job": "llm9"}).status_code == 404


def test_a_bad_checkpoint_is_refused_and_the_old_model_goes_on(swappable: tuple[EnvFile, httpx.Client, Path]) -> None:
    env, client, folder = swappable
    env.champion(write_checkpoint(folder, "v1.1.0", schema_hash="f" * 64))
    answer = reload(client)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "trained for sentiment schema ffff" in answer.json()["detail"]
    assert client.get("/predict/AAPL").json()["model"]["version"] == "v1.0.0"
    assert client.get("/ready").status_code == 200


def test_a_model_that_breaks_on_real_input_makes_fincoll_unready_until_it_is_replaced(
    swappable: tuple[EnvFile, httpx.Client, Path],
) -> None:
    env, client, folder = swappable
    env.champion(write_checkpoint(folder, "v1.2.0", faulty=True))
    assert reload(client).status_code == 200
    answer = client.get("/predict/AAPL")
    assert answer.status_code == 503
    assert "llm1-tech v1.2.0 answered with numbers that are not finite" in answer.json()["detail"]
    assert "v1.2.0" in client.get("/ready").json()["detail"]
    env.champion(folder / "llm1-tech-v1.0.0.onnx")
    assert reload(client).json()["reloaded"] == [
        {"job": JOB.name, "alias": "champion", "before": "v1.2.0", "after": "v1.0.0"}
    ]
    assert client.get("/predict/AAPL").status_code == 200
    assert client.get("/ready").status_code == 200


@contextmanager
def load(url: str, callers: int) -> Iterator[Counter[object]]:
    """Callers that ask without a pause; what came back, by status and model version."""
    seen: Counter[object] = Counter()
    done = threading.Event()

    def call() -> None:
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
            while not done.is_set():
                try:
                    answer = client.post("/predict", json={"symbols": ["AAPL", "IBM"]})
                    seen[answer.status_code, answer.json()["model"]["version"]] += 1
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    seen[repr(error)] += 1

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_no_request_fails_while_models_are_swapped(tmp_path: Path) -> None:
    env = EnvFile(tmp_path)
    versions = [write_checkpoint(tmp_path, f"v1.{minor}.0", shift=float(minor)) for minor in range(3)]
    env.champion(versions[0])
    with fincoll(env) as (service, client), load(service.url, callers=3) as seen:
        for turn in range(1, 25):
            env.champion(versions[turn % 3])
            assert reload(client).json()["reloaded"][0]["after"] == f"v1.{turn % 3}.0"
            assert client.get("/predict/AAPL").json()["model"]["version"] == f"v1.{turn % 3}.0"
    assert set(seen) == {(200, f"v1.{minor}.0") for minor in range(3)}, seen
    assert sum(seen.values()) > 100
