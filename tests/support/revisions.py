"""Deployments in small: what they leave in a host's records, without processes."""

from __future__ import annotations

from typing import Any

import support.ansible_path  # noqa: F401 - makes the next imports possible

# isort: split
from ansible.module_utils.caelum.instance.revision import Recorded
from ansible.module_utils.caelum.instance.store import Revisions

SECRET = "s3cret-of-fincoll"


def release(version: str, **more: Any) -> Recorded:
    """What a deployment of `version` records."""
    instance = {"name": "fincoll@stable", "service": "fincoll", "release": version, "command": ["{python}"],
                "credentials": {"key.json": SECRET}, "address": "127.0.0.1", "port": 8001}  # fmt: skip
    return Recorded(**{"version": version, "instances": (instance,), "config": {"port": 8001}, **more})


def deploy(revisions: Revisions, token: int, version: str, **more: Any) -> int:
    """A deployment from begin to commit; the number of the revision that it made."""
    revisions.begin(token, release(version, **more))
    return revisions.commit(token).number


def roll_back(revisions: Revisions, token: int) -> str:
    """A rollback from begin to commit; the version that it went to."""
    revisions.begin(token, revisions.wanted("rollback"))
    return revisions.commit(token).version


def version(revisions: Revisions) -> str | None:
    """What the host has."""
    current = revisions.current()
    return current.version if current else None
