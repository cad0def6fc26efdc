"""Service tokens: what may change something. Only their SHA-256 is kept."""

import hashlib
import hmac
import inspect
import secrets
from collections.abc import Awaitable, Callable

from fastapi import Request

from caelum_common.errors import Problem
from caelum_common.settings import ServiceSettings

Accepts = Callable[[Request, str], Awaitable[str | None] | str | None]


def new_token() -> str:
    """A token of 256 random bits, safe in URLs and headers."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """SHA-256 of a token in hexadecimal. A plain hash suffices: a token is random, so it can't be guessed from it."""
    return hashlib.sha256(token.encode()).hexdigest()


def requires_token(accepts: Accepts) -> Callable[[Request], Awaitable[str]]:
    """A FastAPI dependency that lets a request with an accepted bearer token pass and returns the token's name.

    `accepts` gets the request and the token and returns the name it is known by, or None. Raises Problem 401.
    """

    async def token_name(request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized(f"{request.url.path} needs a service token and none was sent")
        name = accepts(request, token.strip())
        if inspect.isawaitable(name):
            name = await name
        if name is None:
            raise _unauthorized(f"the service token sent to {request.url.path} is not known or may not do this")
        return name

    return token_name


def from_settings(settings: ServiceSettings) -> Accepts:
    """Accepts the tokens whose hashes stand in `CAELUM_TOKENS_SHA256`."""
    known = {name: digest.lower().encode() for name, digest in settings.caelum_tokens_sha256.items()}

    def accepts(_request: Request, token: str) -> str | None:
        digest = hash_token(token).encode()
        # All are compared, so that the time taken tells nothing.
        matches = [name for name, hashed in known.items() if hmac.compare_digest(hashed, digest)]
        return matches[0] if matches else None

    return accepts


def _unauthorized(detail: str) -> Problem:
    remedy = "send `Authorization: Bearer <token>` with a token made for this service"
    return Problem(401, "Unauthorized", detail, remedy, headers={"WWW-Authenticate": "Bearer"})
