"""Who may ask without a token: this machine, and the hosts of the inventory."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any

from fastapi import Request

Guard = Callable[[Request], Awaitable[str]]


def or_token(hosts: Iterable[str], guard: Guard) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """A FastAPI dependency that lets loopback and `hosts` (addresses) pass, and of others those that `guard` does."""
    known = frozenset(filter(None, map(_plain, hosts)))

    async def allowed(request: Request) -> None:
        caller = _plain(request.client.host if request.client else "")
        if not (caller in known or (caller and ip_address(caller).is_loopback)):
            await guard(request)

    return allowed


def _plain(address: str) -> str:
    """An address in its usual form, IPv4 also where it came over an IPv6 socket; empty when it is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
