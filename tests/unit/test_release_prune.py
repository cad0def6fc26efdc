"""Pruning keeps what a host may be returned to, however old that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance.revision import Recorded
from ansible.module_utils.caelum.instance.store import Revisions

from support.tiny_release import Tiny

VERSIONS = [f"v1.{minor}.0" for minor in range(9, -1, -1)]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Ten releases in the store and on the host; only their manifests' presence matters here."""
    found = Tiny(tmp_path)
    for root in (found.store / "demo", found.prefix / "opt/caelum/demo/releases"):
        for version in VERSIONS:
            (root / version).mkdir(parents=True)
            (root / version / "manifest.json").write_text("{}")
    return found


def deployed(tiny: Tiny, token: int, **releases: str) -> None:
    """Record a deployment of these components at these versions as the host's last good one."""
    revisions = Revisions(tiny.prefix, "demo")
    with revisions.locked():
        revisions.begin(token, record(**releases))
        revisions.commit(token)


def record(**releases: str) -> Recorded:
    instances = [{"name": f"{name}@stable", "service": "demo", "release": one} for name, one in releases.items()]
    return Recorded(version=next(iter(releases.values())), instances=tuple(instances))


def kept(tiny: Tiny, keep: int, **given: Any) -> list[str]:
    """What is left, the same in the store and on the host."""
    tiny.run("pruned", keep=keep, **given)
    listing = tiny.run("listed")["listing"]["demo"]
    assert listing["store"] == listing["installed"]
    return list(listing["store"])


def test_the_last_releases_that_were_deployed_stay_though_newer_ones_are_there(tiny: Tiny) -> None:
    for token, version in enumerate(["v1.0.0", "v1.1.0", "v1.3.0", "v1.2.0"], start=1):
        deployed(tiny, token, demo=version)
    assert kept(tiny, 2) == ["v1.9.0", "v1.8.0", "v1.3.0", "v1.2.0"]


def test_every_component_keeps_its_own_version(tiny: Tiny) -> None:
    deployed(tiny, 1, news="v1.0.0", social="v1.1.0")
    deployed(tiny, 2, news="v1.4.0", social="v1.1.0")
    assert kept(tiny, 1) == ["v1.9.0", "v1.4.0", "v1.1.0"]


def test_after_a_rollback_the_release_returned_to_and_the_one_before_it_stay(tiny: Tiny) -> None:
    for token, version in enumerate(["v1.0.0", "v1.1.0", "v1.2.0"], start=1):
        deployed(tiny, token, demo=version)
    revisions = Revisions(tiny.prefix, "demo")
    with revisions.locked():
        revisions.begin(4, revisions.wanted("previous"))
        revisions.commit(4)
    assert kept(tiny, 2) == ["v1.9.0", "v1.8.0", "v1.1.0", "v1.0.0"]


def test_what_the_host_is_getting_stays_while_it_is_half_way(tiny: Tiny) -> None:
    deployed(tiny, 1, demo="v1.2.0")
    revisions = Revisions(tiny.prefix, "demo")
    with revisions.locked():
        revisions.begin(2, record(demo="v1.0.0"))
    assert kept(tiny, 1) == ["v1.9.0", "v1.2.0", "v1.0.0"]


def test_a_record_that_cannot_be_read_keeps_everything(tiny: Tiny) -> None:
    deployed(tiny, 1, demo="v1.2.0")
    (tiny.prefix / "var/lib/caelum/revisions/demo/1.json").write_text("{")
    with pytest.raises(Refused, match="revision 1 of demo on this host cannot be read"):
        tiny.run("pruned", keep=1)
    assert tiny.run("listed")["listing"]["demo"]["installed"] == VERSIONS
