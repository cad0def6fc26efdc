"""Errors that callers can act on: problem documents (RFC 9457)."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caelum_common import problem
from caelum_common.wire import JsonResponse

log = structlog.get_logger()


class Problem(Exception):
    """An answer other than success; becomes an `application/problem+json` document.

    `extra` members are added to the document as they are.
    """

    def __init__(  # noqa: PLR0913 - the members of RFC 9457
        self,
        status: int,
        title: str,
        detail: str,
        remedy: str = "",
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.remedy = remedy
        self.kind = kind
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self, instance: str) -> JsonResponse:
        """The document as a response; `instance` is the path that was asked for."""
        body = problem.document(
            self.status, self.title, self.detail, self.remedy, instance=instance, kind=self.kind, **self.extra
        )
        return JsonResponse(body, self.status, self.headers, media_type=problem.MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error that leaves `app` a problem document; no traceback reaches a caller."""

    @app.exception_handler(Problem)
    async def refusal(request: Request, error: Problem) -> JsonResponse:
        return error.response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JsonResponse:
        return _invalid(error.errors()).response(request.url.path)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JsonResponse:
        return _refused(request, error).response(request.url.path)

    app.add_middleware(_UnexpectedErrors)


def _invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    # The rejected input itself is left out: it may hold a secret, and may not be JSON.
    found = [{"where": ".".join(map(str, error["loc"])), "what": error["msg"]} for error in errors]
    detail = "; ".join(f"{item['where']}: {item['what']}" for item in found)
    return Problem(422, "Invalid request", detail, "send a request that fits /openapi.json", errors=found)


def _refused(request: Request, error: HTTPException) -> Problem:
    title = HTTPStatus(error.status_code).phrase
    detail, remedy = str(error.detail), ""
    if error.status_code == 404:
        detail, remedy = f"no route {request.url.path}", "the routes are listed in /openapi.json"
    elif error.status_code == 405:
        detail = f"{request.method} is not allowed on {request.url.path}"
        remedy = "the routes are listed in /openapi.json"
    return Problem(error.status_code, title, detail, remedy, headers=error.headers)


class _UnexpectedErrors:
    """Turns what no handler knows into a logged 500.

    Stands in for Starlette's own last handler, which raises again after it answered, so that each error would be
    logged twice, once as plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            if started:
                raise
            problem = Problem(503, "Stopping", "the service stopped before it could answer", "send the request again")
            await problem.response(scope["path"])(scope, receive, send)
        except Exception:
            log.exception("unexpected error", method=scope["method"], path=scope["path"])
            if started:
                raise  # the answer is cut short: only the server can still close the connection
            problem = Problem(500, "Internal error", "the service failed on this request", "its log has the cause")
            await problem.response(scope["path"])(scope, receive, send)
