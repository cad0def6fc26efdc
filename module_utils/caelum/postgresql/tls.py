"""The server's certificate and key: given ones checked to be a pair, or a pair of its own that the host makes."""

from __future__ import annotations

import ipaddress
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Refused
from .local import USER, must, run

VALID_DAYS = 3650
RENEW_S = 30 * 86400


def check_pair(certificate: str, key: str) -> None:
    """Raises Refused unless both are given, are PEM, belong together and the certificate is still valid."""
    if not (certificate and key):
        raise Refused("postgresql_tls_cert and postgresql_tls_key come together; give both, or neither")
    if _public("x509", ["-pubkey", "-noout"], certificate) != _public("pkey", ["-pubout"], key):
        raise Refused("postgresql_tls_cert and postgresql_tls_key are no pair; give the key that it was made with")
    if run(["openssl", "x509", "-noout", "-checkend", "0"], stdin=certificate).returncode:
        raise Refused("postgresql_tls_cert has expired; give a new one")


def why_unfit(certificate: Path, key: Path, subject: str) -> str:
    """Why the host's own pair must be made anew; empty when it serves `subject` for another month."""
    if not (certificate.is_file() and key.is_file()):
        return "none"
    if stat.S_IMODE(key.stat().st_mode) & 0o077 or key.owner() != USER:
        return "its key is readable by others"
    text = certificate.read_text(errors="replace")
    try:
        paired = _public("x509", ["-pubkey", "-noout"], text) == _public("pkey", ["-pubout"], key.read_text())
    except Refused:
        paired = False
    if not paired:
        return "no pair"
    if run(["openssl", "x509", "-noout", "-checkend", str(RENEW_S)], stdin=text).returncode:
        return "expires"
    named = run(
        ["openssl", "x509", "-noout", "-checkip" if _kind(subject) == "IP" else "-checkhost", subject], stdin=text
    )
    return "" if "does match" in named.stdout else "for another address"


@contextmanager
def own_pair(subject: str) -> Iterator[tuple[str, str]]:
    """A certificate and key for `subject`, signed by itself, in a folder that only root enters and that goes again."""
    with tempfile.TemporaryDirectory(prefix="caelum-tls-") as folder:
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        key.touch(mode=0o600)
        must(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-sha256", "-days", str(VALID_DAYS), "-subj", f"/CN={subject}", "-keyout", key, "-out", certificate,
             "-addext", f"subjectAltName={_kind(subject)}:{subject},DNS:localhost"],
            "making the server's certificate",
        )  # fmt: skip
        key.chmod(0o600)
        yield certificate.read_text(), key.read_text()


def _kind(subject: str) -> str:
    try:
        ipaddress.ip_address(subject)
    except ValueError:
        return "DNS"
    return "IP"


def _public(command: str, options: list[str], pem: str) -> str:
    return must(["openssl", command, *options], "reading the server's certificate or its key", stdin=pem)
