"""How much of a request FinColl reads before it refuses the rest."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 1 << 20  # 500 symbols of 16 characters take 60 kB at the worst


class BodyLimit:
    """Refuses a body of more than `limit` bytes with 413, by its announced length or, without one, by what came.

    The refusal is raised where the body is read, so that a request that needs none is not bothered.
    """

    def __init__(self, app: ASGIApp, limit: int = BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        seen = int(announced) if announced.isdigit() else 0
        counted = 0

        async def limited() -> Message:
            nonlocal counted
            if seen > self.limit:
                raise self._refusal()
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self.limit:
                raise self._refusal()
            return message

        await self.app(scope, limited, send)

    def _refusal(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self.limit} bytes; ask for fewer symbols at once")
