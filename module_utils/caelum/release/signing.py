"""ed25519 signatures of manifests: made on the controller, checked wherever a release is installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..atomic import write_atomic
from ..commands import run
from ..errors import Refused

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError:  # a host needs no more than the openssl program; the controller's lock has the library
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True


def public_path(private: Path) -> Path:
    """Where the public half of the key `private` lies."""
    return private.with_name(f"{private.name}.pub")


def create_key(private: Path) -> None:
    """Make a key pair: `private` (0600) and its `.pub` beside it, in a folder that is made if need be."""
    private.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    write_atomic(public_path(private), _public_pem(key))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomic(private, pem, mode=0o600)


def sign(private: Path, data: bytes) -> bytes:
    """The 64-byte signature of `data`; Refused when the key is missing, readable by others or no ed25519 key."""
    if not private.is_file():
        raise Refused(f"signing key {private} is missing; put it there, or pass create_key=true to make one")
    if private.stat().st_mode & 0o077:
        raise Refused(f"signing key {private} can be read by others; run `chmod 600 {private}`")
    try:
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise Refused(f"signing key {private} cannot be read as a PEM private key; make a new one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"signing key {private} is no ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
    return key.sign(data)


def public_pem(text_or_path: str) -> bytes:
    """The PEM text of a public key, given as such or as a path; Refused when the file is missing."""
    if text_or_path.lstrip().startswith("-----BEGIN"):
        return text_or_path.strip().encode() + b"\n"
    if not text_or_path:
        raise Refused("no public key was given; build a release first: that makes the key")
    path = Path(text_or_path)
    if not path.is_file():
        raise Refused(f"public key {path} is missing; copy the signing key's .pub there")
    return path.read_bytes()


def verify(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `signature` of `data` was made with the private half of the PEM key `public`."""
    if not HAS_CRYPTOGRAPHY:
        return verify_with_openssl(public, data, signature)
    try:
        key = serialization.load_pem_public_key(public)
    except ValueError as error:
        raise Refused("the public key is no PEM public key; give the signing key's .pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("the public key is no ed25519 key; give the signing key's .pub")
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def verify_with_openssl(public: bytes, data: bytes, signature: bytes) -> bool:
    """The same by the openssl program (3.0 or newer), for hosts without the library."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (("key", public), ("data", data), ("sig", signature)):
            (folder / file).write_bytes(content)
        command = "openssl pkeyutl -verify -pubin -inkey key -rawin -in data -sigfile sig"
        return run(command.split(), cwd=folder).returncode == 0


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
