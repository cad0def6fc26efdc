"""One microservice as the aggregator sees it."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import httpx
import orjson
import structlog

from caelum_common.breaker import Breaker
from caelum_common.vector import schema

FAILURES = 3
RETRY_S = 0.5
PROBE_TIMEOUT_S = 1.0

# What a connection that the other side closed while idle shows at its next use.
STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)

log = structlog.get_logger()


class UpstreamError(Exception):
    """The microservice gave no usable answer; one line that says why."""


class Upstream:
    """Asks one microservice, and stops asking while it is away.

    After three failures in a row no request waits for it any more: it is probed in the background twice a second
    until it is ready, so that its return is seen without a caller paying for the attempt.
    """

    def __init__(self, name: str, url: str, client: httpx.AsyncClient) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._client = client
        self._breaker = Breaker(FAILURES, RETRY_S)
        self._place = schema().groups[name]
        self._healing: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """The breaker's state."""
        return self._breaker.state

    async def ask(self, method: str, path: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        """The microservice's document for its group. Raises UpstreamError, at once while it is known to be away."""
        if self._breaker.state != "closed":
            raise UpstreamError("it has not answered lately")
        try:
            document = self._checked(await self._sent(method, path, timeout_s, **request))
        except UpstreamError as error:
            self._failed(str(error))
            raise
        self._breaker.success()
        return document

    async def status(self, timeout_s: float) -> dict[str, Any]:
        """`status`, `version` and `response_time_ms` from its /health, asked now."""
        begin = time.perf_counter()
        try:
            answer = await self._sent("GET", "/health", timeout_s)
            version = orjson.loads(answer.content)["version"]
        except (UpstreamError, KeyError, TypeError, ValueError):
            return {"status": "down", "version": None, "response_time_ms": None}
        return {
            "status": "healthy",
            "version": version,
            "response_time_ms": round((time.perf_counter() - begin) * 1000),
        }

    async def close(self) -> None:
        """End the probing."""
        if self._healing:
            self._healing.cancel()
            with suppress(asyncio.CancelledError):
                await self._healing

    async def _sent(self, method: str, path: str, timeout_s: float, **request: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    answer = await self._client.request(method, self._url + path, **request)
                except STALE:
                    answer = await self._client.request(method, self._url + path, **request)
        except TimeoutError:
            raise UpstreamError(f"no answer within {timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise UpstreamError(str(error) or type(error).__name__) from None
        if answer.status_code != httpx.codes.OK:
            raise UpstreamError(f"answered {answer.status_code}")
        return answer

    def _checked(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            document = orjson.loads(answer.content)
            same = document["schema_hash"] == schema().hash
            place = range(*document["indices"])
        except (KeyError, TypeError, ValueError):
            raise UpstreamError("its answer is not a feature document") from None
        if not same or place != self._place:
            raise UpstreamError("its answer has another schema; deploy it and the aggregator from one release")
        return dict(document)

    def _failed(self, reason: str) -> None:
        self._breaker.failure()
        if self._breaker.state != "closed" and (self._healing is None or self._healing.done()):
            log.warning("microservice is away", upstream=self.name, reason=reason)
            self._healing = asyncio.create_task(self._heal())

    async def _heal(self) -> None:
        while self._breaker.state != "closed":
            await asyncio.sleep(RETRY_S)
            if self._breaker.allow():
                with suppress(UpstreamError):
                    await self._sent("GET", "/ready", PROBE_TIMEOUT_S)
                    self._breaker.success()
        log.info("microservice is back", upstream=self.name)
