"""FinColl's routes over real HTTP: shapes, provenance, refusals."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import support.ansible_path  # noqa: F401 - makes the last import possible
from caelum_common import vector
from caelum_common.market import market
from fincoll import schemas
from support.checkpoints import JOB, write_checkpoint
from support.fincoll import EnvFile, fincoll
from support.processes import Service
from support.senvec_stub import GROUPS, StubSenVec

# isort: split
from ansible.module_utils.caelum.instance import procfs

pytestmark = pytest.mark.services

SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
CLOCK = datetime(2013, 3, 1, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client]]:
    folder = tmp_path_factory.mktemp("fincoll")
    with StubSenVec() as senvec:
        env = EnvFile(folder, SENVEC_API_URL=senvec.url, SENVEC_TIMEOUT_MS=5_000)  # a busy machine is not degraded
        env.champion(write_checkpoint(folder))
        with fincoll(env) as started:
            yield started


@pytest.fixture
def client(running: tuple[Service, httpx.Client]) -> httpx.Client:
    return running[1]


def predict(client: httpx.Client, **body: Any) -> schemas.PredictResponse:
    answer = client.post("/predict", json={"symbols": SYMBOLS, "job": JOB.name, **body})
    assert answer.status_code == 200, answer.text
    return schemas.PredictResponse.model_validate_json(answer.content)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = answer.json()
    assert content["status"] == status
    assert {"type", "title", "detail", "remedy", "instance"} <= content.keys()
    return content


def test_a_prediction_says_what_it_is_and_where_it_is_from(client: httpx.Client) -> None:
    found = predict(client)
    assert found.job == JOB.name
    assert found.model.model_dump() == {
        "version": "v1.0.0", "alias": "champion", "kind": "ridge", "bootstrap": True, "trusted": False,
    }  # fmt: skip
    assert (found.version, found.schema_hash, found.source) == ("dev", vector.schema().hash, "sample")
    assert (found.as_of, found.degraded, found.refused) == (CLOCK, False, {})
    assert (tuple(found.horizons), tuple(found.quantiles)) == (JOB.horizons, JOB.quantiles)
    assert list(found.predictions) == SYMBOLS
    for symbol, prediction in found.predictions.items():
        returns = np.array(prediction.log_returns)
        assert returns.shape == (3, 5)
        assert (np.diff(returns, axis=1) >= 0).all()
        assert prediction.last_close == market("sample").bars(symbol)[-1].close
        assert prediction.as_of == CLOCK
        assert prediction.senvec.model_dump() == {
            "degraded": False, "stale": False, "stale_s": None, "missing": [], "age_s": dict.fromkeys(GROUPS, 3600.0),
        }  # fmt: skip


def test_one_symbol_by_get_is_the_same_as_by_post(client: httpx.Client) -> None:
    answer = client.get("/predict/IBM", params={"job": JOB.short, "as_of": "2012-06-14"})
    assert schemas.PredictResponse.model_validate_json(answer.content) == predict(
        client, symbols=["IBM"], as_of="2012-06-14"
    )


@pytest.mark.parametrize(
    "as_of", ["2012-06-14", "2012-06-14T20:00:00Z", "2012-06-14T16:00:00-04:00", "2012-06-15T19:59Z"]
)
def test_as_of_is_the_last_session_closed_by_then(client: httpx.Client, as_of: str) -> None:
    found = predict(client, as_of=as_of)
    assert found.as_of == datetime(2012, 6, 14, 20, tzinfo=UTC)
    assert "FB" in found.refused
    assert "daily bars up to 2012-06-14, a prediction needs 84" in found.refused["FB"]


def test_unknown_symbols_are_refused_and_the_rest_answered(client: httpx.Client) -> None:
    found = predict(client, symbols=["XXXX", "AAPL", "AAPL", "aapl"])
    assert list(found.predictions) == ["AAPL"]
    assert set(found.refused) == {"XXXX", "aapl"}
    assert "the sample knows AAPL, FB" in found.refused["XXXX"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"symbols": ["XXXX", "YYYY"]}, 404, "no bars of 'XXXX'"),
        ({"symbols": ["AAPL"], "job": "llm9"}, 404, "job 'llm9' does not exist; known: llm1-tech"),
        ({"symbols": ["AAPL"], "as_of": "2013-03-02"}, 422, "after the data's clock, 2013-03-01T21:00:00"),
        ({"symbols": ["AAPL"], "as_of": "2013-03-01T21:00:01Z"}, 422, "after the data's clock"),
        ({"symbols": ["AAPL"], "as_of": "2013-03-01T21:00:00"}, 422, "needs an offset"),
        ({"symbols": ["AAPL"], "as_of": "yesterday"}, 422, "as_of"),
        ({"symbols": ["AAPL"], "as_of": 20130301}, 422, "as_of"),
        ({"symbols": []}, 422, "symbols"),
        ({"symbols": ["AAPL"] * 501}, 422, "at most 500"),
        ({"symbols": ["A" * 17]}, 422, "at most 16"),
        ({"symbols": "AAPL"}, 422, "valid list"),
        ({"symbols": [1]}, 422, "valid string"),
        ({"symbol": "AAPL"}, 422, "symbols"),
        ({"symbols": ["AAPL"], "model": "/etc/passwd"}, 422, "Extra inputs"),
        ([], 422, "body"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_problem(
    client: httpx.Client, body: object, status: int, words: str
) -> None:
    assert words in problem(client.post("/predict", json=body), status)["detail"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff", b'{"symbols": ["AAPL"]'])
def test_malformed_json_is_a_problem(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


def test_get_problems(client: httpx.Client) -> None:
    assert "no bars of 'XXXX'" in problem(client.get("/predict/XXXX"), 404)["detail"]
    problem(client.get("/predict/AAPL", params={"as_of": "2099-01-01"}), 422)
    problem(client.get("/bars/XXXX"), 404)
    problem(client.get("/bars/AAPL", params={"limit": 0}), 422)
    problem(client.get("/bars/AAPL", params={"as_of": "2099-01-01"}), 422)
    problem(client.get("/nothing"), 404)
    problem(client.get("/predict"), 405)


def test_many_symbols_at_once_are_answered_and_refused_one_by_one(client: httpx.Client) -> None:
    found = predict(client, symbols=SYMBOLS + [f"X{number}" for number in range(495)])
    assert list(found.predictions) == SYMBOLS
    assert len(found.refused) == 495


def test_bars_are_those_of_the_market_up_to_as_of(client: httpx.Client) -> None:
    answer = client.get("/bars/MSFT", params={"limit": 3, "as_of": "2012-07-04"})
    found = schemas.BarsResponse.model_validate_json(answer.content)
    assert (found.symbol, found.source, found.version) == ("MSFT", "sample", "dev")
    expected = [bar for bar in market("sample").bars("MSFT") if bar.date.isoformat() <= "2012-07-03"][-3:]
    assert [bar.time for bar in found.bars] == [bar.time for bar in expected]
    assert found.as_of == found.bars[-1].time == datetime(2012, 7, 3, 17, tzinfo=UTC), "an early close"
    last = found.bars[-1].model_dump(exclude={"time"})
    assert last == {field: getattr(expected[-1], field) for field in last}
    assert len(client.get("/bars/MSFT").json()["bars"]) == 120


def test_models_say_what_they_are(client: httpx.Client) -> None:
    found = schemas.ModelsResponse.model_validate_json(client.get("/models").content)
    (model,) = found.models
    assert (model.job, model.alias, model.version, model.bootstrap) == (JOB.name, "champion", "v1.0.0", True)
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)


def test_health_ready_and_version(client: httpx.Client) -> None:
    predict(client)
    health = client.get("/health").json()
    assert health["status"] == "healthy"
    assert (health["service"], health["component"]) == ("fincoll", "fincoll")
    assert health["degraded"] is False
    assert health["models"] == {JOB.name: {"champion": "v1.0.0"}}
    age = datetime.now(UTC) - datetime.fromisoformat(health["last_prediction"])
    assert 0 <= age.total_seconds() < 60
    assert client.get("/ready").json() == {"ready": True, "checks": {"model": "ok", "data": "ok"}, "halted": None}
    assert client.get("/version").json()["schema_hash"] == vector.schema().hash


def test_metrics_tell_latency_by_model_version_and_how_senvec_was_asked(client: httpx.Client) -> None:
    predict(client)
    text = client.get("/metrics").text
    assert re.search(
        r'fincoll_prediction_duration_seconds_count\{job="llm1-tech",model_version="v1\.0\.0"\} [1-9]', text
    )
    assert re.search(r'fincoll_senvec_windows_total\{outcome="cached"\} [1-9]', text)
    assert "fincoll_degraded 0.0" in text


def test_it_stays_small(running: tuple[Service, httpx.Client]) -> None:
    service, client = running
    predict(client)
    libraries = Path(f"/proc/{service.pid}/maps").read_text()
    assert "onnxruntime" in libraries
    for heavy in ("torch", "pandas", "pyarrow"):
        assert f"/{heavy}/" not in libraries
    assert procfs.pss_kib(service.pid) < 115 * 1024, (
        "the aim is 90 MiB in a release, where other services share its libraries"
    )
