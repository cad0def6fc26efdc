"""Releases on a share: published whole, taken only as signed, and a share that is silent stops nobody."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.release import guard, receive, signing, trust, wanted
from ansible.module_utils.caelum.release.store import Store

from support.tiny_release import Tiny, tiny_repository


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    made = tiny_repository(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    return made


def share(tiny: Tiny) -> Path:
    return tiny.base / "share/releases"


def released(tiny: Tiny) -> dict[str, Any]:
    made = tiny.run("built")["releases"][0]
    return {"name": "demo", "version": "v1.0.0", "manifest": made["manifest_sha256"]}


def publish(tiny: Tiny, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    given = {"services": [released(tiny)], "origin": tiny.store, "store": share(tiny), "public_key": f"{tiny.key}.pub"}
    return tiny.run("published", check_mode, **given | more)


def test_publishing_copies_once_and_check_mode_only_says_so(tiny: Tiny) -> None:
    assert publish(tiny, check_mode=True)["lacking"] == ["demo/v1.0.0"]
    assert not share(tiny).exists()
    assert publish(tiny, timeout=20)["published"] == ["demo/v1.0.0"]
    assert not publish(tiny)["changed"]
    assert [path.name for path in (share(tiny) / "demo").iterdir()] == ["v1.0.0"]


def test_a_store_that_was_tampered_with_is_not_published(tiny: Tiny) -> None:
    release = released(tiny)
    wheel = next((tiny.store / "demo/v1.0.0/wheels").glob("leftpad*"))
    wheel.unlink()
    wheel.write_bytes(b"evil")
    with pytest.raises(Refused, match="has another sha256 than its manifest says"):
        publish(tiny, services=[release])
    assert list((share(tiny) / "demo").iterdir()) == []


def test_a_manifest_that_is_exchanged_after_it_was_read_is_not_installed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = {"name": "demo", "version": released(tiny)["version"]}
    publish(tiny)
    honest = Store.manifest_bytes

    def rogue(store: Store, service: str, version: str) -> bytes | None:
        data = honest(store, service, version)
        return data.replace(b'"dirty": false', b'"dirty": true ') if data else data

    monkeypatch.setattr(Store, "manifest_bytes", rogue)
    with pytest.raises(Refused, match="is corrupted or signed by another key"):
        tiny.run("installed", services=[release], store=share(tiny), timeout=20)
    assert not tiny.release().exists()


def test_a_host_that_has_the_expected_release_does_not_look_at_the_share(tiny: Tiny) -> None:
    release = released(tiny)
    publish(tiny)
    assert tiny.run("installed", services=[release], store=share(tiny), timeout=20)["changed"]
    nowhere = tiny.base / "unmounted"
    assert not tiny.run("installed", services=[release], store=nowhere)["changed"]


def test_what_the_share_lacks_is_named_where_the_caller_sees_to_it(tiny: Tiny) -> None:
    asked: dict[str, Any] = {"services": [released(tiny)], "store": share(tiny)}
    said = tiny.run("installed", may_lack=True, **asked)
    assert (said["changed"], said["lacking"]) == (False, [{"name": "demo", "version": "v1.0.0"}])
    with pytest.raises(Refused, match="is not in the store"):
        tiny.run("installed", **asked)


def test_a_share_with_other_content_than_was_built_is_refused(tiny: Tiny) -> None:
    publish(tiny)
    other = {"name": "demo", "version": "v1.0.0", "manifest": "0" * 64}
    with pytest.raises(Refused, match="with other content than was built now"):
        tiny.run("installed", services=[other], store=share(tiny), may_lack=True)


def test_silent_work_is_given_up_and_busy_work_is_not() -> None:
    def busy(beat: guard.Beat) -> str:
        for _ in range(4):
            time.sleep(0.6)
            beat()
        return "done"

    assert guard.guarded(busy, 1.5, Path("/share")) == "done"
    began = time.monotonic()
    with pytest.raises(Refused, match=r"the share /share did not answer for 0\.3 s"):
        guard.guarded(lambda _: time.sleep(60), 0.3, Path("/share"))
    assert time.monotonic() - began < 10


def test_guarded_work_refuses_as_it_would_here(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such"):
        guard.guarded(lambda _: (tmp_path / "no such").read_text(), 5, tmp_path)
    with pytest.raises(Refused, match="was ended"):
        guard.guarded(lambda _: os.abort(), 5, tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "wheels/../x", "wheels/a/b", ""])
def test_the_receiver_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    data = receive.MAGIC + b"\n" + json.dumps({"name": name, "size": 1}).encode() + b"\nx{}\n"
    with pytest.raises(ValueError, match="is no file of a release"):
        receive.receive(io.BytesIO(data), tmp_path / "demo/.partial-v1.0.0-1")
    assert list((tmp_path / "demo").iterdir()) == []


def test_the_receiver_skips_a_password_and_removes_half_a_transfer(tmp_path: Path) -> None:
    folder = tmp_path / "demo/.partial-v1.0.0-1"
    whole = b"sudo's password\n" + receive.MAGIC + b'\n{"name": "wheels/x.whl", "size": 3}\nabc{}\n'
    assert receive.receive(io.BytesIO(whole), folder) == 1
    assert (folder / "wheels/x.whl").read_bytes() == b"abc"
    with pytest.raises(EOFError):
        receive.receive(io.BytesIO(whole[:-5]), folder)
    assert not folder.exists()


def test_a_host_keeps_the_key_that_it_has(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        signing.create_key(tmp_path / name / "release.key")
        keys.append((tmp_path / name / "release.key.pub").read_text())
    first = trust.plan_key(tmp_path, keys[0], replace=False)
    assert first
    first.apply()
    assert not trust.plan_key(tmp_path, keys[0], replace=False)
    with pytest.raises(Refused, match="holds another key than this controller signs with"):
        trust.plan_key(tmp_path, keys[1], replace=False)
    assert trust.plan_key(tmp_path, keys[1], replace=True)


@pytest.mark.parametrize(
    ("groups", "mode", "expected"),
    [
        (["senvec", "pim"], "existing", ["postgresql", "senvec", "pim"]),
        (["fincoll", "finvec"], "existing", ["finvec", "fincoll"]),
        (["database"], "wheel", ["postgresql"]),
        (["pim"], "wheel", ["pim"]),
    ],
)
def test_a_host_gets_the_releases_of_its_groups_alone(groups: list[str], mode: str, expected: list[str]) -> None:
    every = [{"name": name} for name in ("postgresql", "senvec", "finvec", "fincoll", "pim")]
    assert [one["name"] for one in wanted.releases_here(every, groups, mode)] == expected
