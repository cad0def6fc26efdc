"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802 and 7677; PostgreSQL's src/common/scram-common.c).

A role is made with its verifier, so the password crosses no wire and stands in no server log; and a stored verifier
tells whether it belongs to a password, so a role is altered only when the password changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from ..errors import Refused

ITERATIONS = 4096
SALT_BYTES = 16


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """`SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, in base64, for a password.

    Raises Refused for a password that isn't printable ASCII: others have more than one byte form (SASLprep).
    """
    if not password or not password.isascii() or not password.isprintable():
        raise Refused("a role's password is empty or not plain ASCII; give it letters, digits and signs in the vault")
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return "SCRAM-SHA-256${}:{}${}:{}".format(iterations, *encoded)


def matches(stored: str | None, password: str) -> bool:
    """Whether `stored` is a SCRAM-SHA-256 verifier of `password`; a role without one, or with MD5, does not match."""
    try:
        kind, parameters, _ = (stored or "").split("$")
        iterations, salt = parameters.split(":")
        if kind != "SCRAM-SHA-256":
            return False
        again = verifier(password, salt=base64.b64decode(salt, validate=True), iterations=int(iterations))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(again, stored or "")
