"""Whatever is sent to FinColl, it answers with a problem document, logs no traceback, and goes on predicting."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.checkpoints import write_checkpoint
from support.fincoll import TOKEN, EnvFile, fincoll
from support.processes import Service

pytestmark = pytest.mark.services

JSON = {"content-type": "application/json"}
MANY = json.dumps({"symbols": [f"X{number}" for number in range(200_000)]}).encode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client]]:
    folder = tmp_path_factory.mktemp("fincoll")
    env = EnvFile(folder)
    env.champion(write_checkpoint(folder))
    with fincoll(env) as started:
        yield started


@pytest.fixture
def client(running: tuple[Service, httpx.Client]) -> Iterator[httpx.Client]:
    """A client; afterwards the process must still predict and must have logged no error."""
    service, made = running
    yield made
    assert made.get("/predict/AAPL").status_code == 200
    assert "raceback" not in service.log()
    assert "unexpected error" not in service.log()


def problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["detail"]
    assert "raceback" not in answer.text
    return document


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"symbols": [' + b"1" * 5000 + b"]}",
        b'{"symbols": ["AAPL"], "job": NaN}',
        b'{"symbols": ["\\ud800"]}',
        b'{"symbols": ["AAPL"], "\\ud800": 1}',
        b'{"symbols": ["AAPL"], "job": "\\ud800"}',
        b'{"symbols": ["AAPL"], "as_of": "\\ud800"}',
        b'{"symbols": ["AAPL"], "as_of": "0001-01-01T00:00:00+14:00"}',
        b'{"symbols": ["AAPL"], "as_of": "9999-12-31T23:59:59-14:00"}',
        b'{"symbols": {"AAPL": 1}}',
        b'{"symbols": [["AAPL"]]}',
        b'{"symbols": null}',
        b'"AAPL"',
        b"null",
        b"symbols=AAPL",
    ],
)
def test_a_body_that_is_no_question_is_a_problem(client: httpx.Client, content: bytes) -> None:
    problem(client.post("/predict", content=content, headers=JSON), 400, 404, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_another_kind_of_content_is_a_problem(client: httpx.Client, kind: str) -> None:
    problem(client.post("/predict", content=b'{"symbols": ["AAPL"]}', headers={"content-type": kind}), 400, 415, 422)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/predict", "/models/reload"])
def test_a_huge_body_is_refused_before_it_is_read_as_json(client: httpx.Client, path: str, chunked: bool) -> None:
    headers = {**JSON, "authorization": f"Bearer {TOKEN}"}
    content = iter([MANY[at : at + 65536] for at in range(0, len(MANY), 65536)]) if chunked else MANY
    found = problem(client.post(path, content=content, headers=headers), 413)
    assert "larger than 1048576 bytes" in found["detail"]


def test_a_large_question_that_is_allowed_is_answered(client: httpx.Client) -> None:
    symbols = ["AAPL", *(f"X{number:015}" for number in range(499))]
    body = json.dumps({"symbols": symbols}).encode() + b" " * 900_000
    assert len(client.post("/predict", content=body, headers=JSON).json()["refused"]) == 499


@pytest.mark.parametrize(
    "path",
    [
        "/predict/%00",
        "/predict/%ff",
        "/predict/" + "A" * 5000,
        "/predict/..%2f..%2fetc%2fpasswd",
        "/predict/AAPL?job=llm9",
        "/predict/AAPL?job=%ff",
        "/predict/AAPL?as_of=0001-01-01T00:00:00%2B14:00",
        "/predict/AAPL?as_of=9999-12-31T23:59:59-14:00",
        "/predict/AAPL?as_of=2013-13-45",
        "/bars/AAPL?limit=99999999999999999999999",
        "/bars/AAPL?limit=ten",
        "/bars/AAPL?as_of=0001-01-01T00:00:00%2B14:00",
        "/bars/%00",
    ],
)
def test_an_address_that_names_nothing_is_a_problem(client: httpx.Client, path: str) -> None:
    problem(client.get(path), 404, 422)


def test_a_day_before_all_data_is_refused_with_the_reason(client: httpx.Client) -> None:
    refused = client.get("/predict/AAPL", params={"as_of": "0001-01-01"}).json()["refused"]
    assert "daily bars up to" in refused["AAPL"]


@pytest.mark.parametrize("body", [{}, [], {"alias": 1}, {"alias": "champion", "job": ["llm1"]}, {"alias": "a" * 51}])
def test_a_reload_of_the_wrong_shape_is_a_problem(client: httpx.Client, body: object) -> None:
    problem(client.post("/models/reload", json=body, headers={"authorization": f"Bearer {TOKEN}"}), 422)


@pytest.mark.parametrize("body", [{"alias": "challenger"}, {"alias": "champion", "job": "llm9"}])
def test_an_unknown_alias_or_job_is_named(client: httpx.Client, body: dict[str, str]) -> None:
    found = problem(client.post("/models/reload", json=body, headers={"authorization": f"Bearer {TOKEN}"}), 404)
    assert list(body.values())[-1] in found["detail"]


def test_a_token_that_is_no_text_is_refused(client: httpx.Client) -> None:
    for token in (b"Bearer \xff\xfe", b"Basic YTpi", b"Bearer", b"Bearer " + b"a" * 20_000):
        headers = {b"authorization": token}
        problem(client.post("/models/reload", json={"alias": "champion"}, headers=headers), 401)


def test_memory_does_not_keep_what_was_refused(running: tuple[Service, httpx.Client], client: httpx.Client) -> None:
    service, _ = running

    def resident_kib() -> int:
        status = Path(f"/proc/{service.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    client.post("/predict", content=MANY, headers=JSON)
    before = resident_kib()
    for _ in range(20):
        client.post("/predict", content=MANY * 5, headers=JSON)
    assert resident_kib() < before + 20 * 1024
