"""What every service answers the same way: health, readiness, version, metrics, and errors as problem documents."""

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import Depends
from pydantic import BaseModel

from caelum_common.app import create_app
from caelum_common.errors import Problem
from caelum_common.settings import ServiceSettings
from caelum_common.tokens import from_settings, hash_token, new_token, requires_token

TOKEN = new_token()


class Settings(ServiceSettings):
    caelum_component: str = "example"


class Body(BaseModel):
    count: int


class Example:
    """An application in this process and a way to ask it."""

    def __init__(self) -> None:
        self.reason: str | None = None
        settings = Settings(caelum_tokens_sha256={"other": hash_token("x"), "pim": hash_token(TOKEN)})
        self.app = create_app(
            title="Example", settings=settings, checks={"data": self._data, "disk": _fine}, facts=lambda: {"fact": 7}
        )
        token = Depends(requires_token(from_settings(settings)))

        @self.app.post("/count")
        async def count(body: Body) -> Body:
            return body

        @self.app.get("/fails")
        async def fails() -> None:
            raise RuntimeError("the password is hunter2")

        @self.app.get("/refuses")
        async def refuses() -> None:
            raise Problem(409, "Busy", "somebody is at it", "come back later", kind="urn:busy", holder="pim")

        @self.app.get("/guarded")
        async def guarded(name: Annotated[str, token]) -> dict[str, str]:
            return {"name": name}

    async def _data(self) -> str | None:
        if self.reason == "raise":
            raise RuntimeError
        if self.reason == "hang":
            await asyncio.sleep(60)
        return self.reason

    def ask(self, method: str, path: str, **options) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


async def _fine() -> None:
    return None


@pytest.fixture
def example():
    return Example()


def test_health_names_the_service_and_adds_its_facts(example):
    answer = example.ask("GET", "/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("uptime_s") >= 0
    assert body == {"status": "healthy", "service": "example", "component": "example", "version": "dev", "fact": 7}


def test_ready_says_why_not(example):
    assert example.ask("GET", "/ready").json() == {"ready": True, "checks": {"data": "ok", "disk": "ok"}}
    example.reason = "no data"
    answer = example.ask("GET", "/ready")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "data: no data"
    assert answer.json()["checks"] == {"data": "no data", "disk": "ok"}


def test_a_check_that_fails_or_hangs_is_a_reason_too(example, monkeypatch):
    monkeypatch.setattr("caelum_common.app.CHECK_TIMEOUT_S", 0.05)
    example.reason = "raise"
    assert example.ask("GET", "/ready").json()["detail"] == "data: the check itself failed with RuntimeError"
    example.reason = "hang"
    assert example.ask("GET", "/ready").json()["detail"] == "data: did not answer within 0.05 s"


@pytest.mark.parametrize(
    ("request_line", "options", "status", "detail"),
    [
        ("GET /nowhere", {}, 404, "no route /nowhere"),
        ("PUT /count", {}, 405, "PUT is not allowed on /count"),
        ("POST /count", {"json": {"count": "many"}}, 422, "body.count"),
        ("POST /count", {"content": b'{"count":', "headers": {"content-type": "application/json"}}, 422, "JSON"),
        ("POST /count", {"content": b"\xff", "headers": {"content-type": "application/json"}}, 400, "body"),
        ("GET /refuses", {}, 409, "somebody is at it"),
        ("GET /fails", {}, 500, "the service failed"),
    ],
)
def test_every_error_is_a_problem_document(example, request_line, options, status, detail):
    method, path = request_line.split()
    answer = example.ask(method, path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["instance"] == path
    assert detail in body["detail"]
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_a_problem_keeps_its_own_members(example):
    body = example.ask("GET", "/refuses").json()
    assert (body["type"], body["title"], body["remedy"], body["holder"]) == (
        "urn:busy", "Busy", "come back later", "pim",
    )  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic eA==",
        "Bearer wrong",
        pytest.param(TOKEN, id="the token without its scheme"),
    ],
)
def test_a_guarded_route_refuses_all_but_a_known_token(example, header):
    answer = example.ask("GET", "/guarded", headers={} if header is None else {"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["remedy"]


def test_a_guarded_route_knows_a_token_by_name(example):
    answer = example.ask("GET", "/guarded", headers={"authorization": f"bearer {TOKEN}"})
    assert answer.json() == {"name": "pim"}


def test_metrics_count_by_route_and_status_not_by_path(example):
    example.ask("GET", "/fails")
    example.ask("GET", "/nowhere/1")
    example.ask("GET", "/nowhere/2")
    text = example.ask("GET", "/metrics").text
    assert 'count{component="example",method="GET",route="/fails",status="500",version="dev"} 1.0' in text
    assert 'count{component="example",method="any",route="none",status="404",version="dev"} 2.0' in text
    assert "/nowhere" not in text


def test_version_says_what_runs(example):
    body = example.ask("GET", "/version").json()
    assert body["service"] == "example"
    assert body["commit"] is None
    assert body["python"].startswith("3.")
