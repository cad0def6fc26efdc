"""Problem documents (RFC 9457) as plain data. Standard library only."""

from typing import Any

MEDIA_TYPE = "application/problem+json"


def document(  # noqa: PLR0913 - the members of RFC 9457
    status: int,
    title: str,
    detail: str,
    remedy: str,
    *,
    instance: str,
    kind: str = "about:blank",
    **extra: Any,
) -> dict[str, Any]:
    """What went wrong, where (`instance` is the path asked for), and the remedy; `extra` members as they are."""
    return {
        "type": kind,
        "title": title,
        "status": status,
        "detail": detail,
        "remedy": remedy,
        "instance": instance,
        **extra,
    }
