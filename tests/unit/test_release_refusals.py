"""caelum_release as Ansible calls it: each bad input ends it with one line, and nothing is made or changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.release import signing

from support.modules import run_module
from support.tiny_release import Tiny, tiny_repository


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A repository with v1.0.0 tagged and in the store."""
    repository = tiny_repository(tmp_path_factory.mktemp("built"))
    repository.git("tag", "v1.0.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(repository.index))
        repository.run("built")
    return repository


@pytest.fixture
def tiny(built: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    repository = Tiny(tmp_path / "copy")
    shutil.copytree(built.base, repository.base)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.index))
    return repository


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(tiny: Tiny, state: str, **given: Any) -> str:
    """The line that the module fails with, which changed neither store nor host."""
    before = files(tiny.store)
    result = run_module("caelum_release", tiny.parameters(state, **given))
    assert result.get("failed"), result
    assert "\n" not in result["msg"]
    assert "Traceback" not in str(result)
    assert files(tiny.store).items() == before.items()
    assert not tiny.prefix.exists()
    return str(result["msg"])


def test_the_module_builds_and_installs_what_nothing_speaks_against(tiny: Tiny) -> None:
    assert run_module("caelum_release", tiny.parameters("built"))["changed"] is False
    assert run_module("caelum_release", tiny.parameters("installed"))["changed"] is True
    assert run_module("caelum_release", tiny.parameters("installed"))["changed"] is False


def test_what_is_not_a_version(tiny: Tiny) -> None:
    for version in ("latest", "v1.2", "v1.2.0;rm -rf", "v1.2.0\n", "v01.2.0", "../v1.0.0", ""):
        assert f"{version!r} is not a version" in refused(tiny, "built", services=[tiny.service(version)])
        assert f"{version!r} is not a version" in refused(tiny, "installed", services=[tiny.service(version)])


def test_an_unknown_version_lists_the_known_ones_where_it_is_built_and_where_it_is_installed(tiny: Tiny) -> None:
    unknown = [tiny.service("v9.0.0")]
    line = refused(tiny, "built", services=unknown, environment_name="prod")
    assert "release v9.0.0 of demo has no git tag v9.0.0" in line
    assert "known: v1.0.0; tag the commit with `git tag -s v9.0.0`" in line
    line = refused(tiny, "installed", services=unknown)
    assert line.startswith(f"release 'v9.0.0' of demo is not in the store {tiny.store}; known: v1.0.0; build it with ")


def test_a_tag_that_was_moved_to_other_content(tiny: Tiny) -> None:
    tiny.write("services/common/src/tiny_common/__init__.py", "NAME = 'changed'\n")
    tiny.git("commit", "-qam", "changed")
    tiny.git("tag", "-f", "v1.0.0")
    line = refused(tiny, "built")
    assert "release v1.0.0 of demo is in the store with other content" in line
    assert "(services/common/src/tiny_common/__init__.py differs); raise the version" in line


def test_a_lock_that_pins_something_else_is_other_content_too(tiny: Tiny) -> None:
    lock = (tiny.root / "locks/demo.txt").read_text()
    tiny.write("locks/demo.txt", f"# a comment changes nothing that is installed, but the lock\n{lock}")
    tiny.git("commit", "-qam", "changed")
    tiny.git("tag", "-f", "v1.0.0")
    assert "(locks/demo.txt differs)" in refused(tiny, "built")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, which may be linked from elsewhere."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def in_store(name: str) -> Callable[[Tiny], Path]:
    return lambda tiny: tiny.store / "demo/v1.0.0" / name


WHEEL, OWN = "wheels/leftpad-1.3-py3-none-any.whl", "wheels/tiny_demo-0-py2.py3-none-any.whl"


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda tiny: flip(in_store(WHEEL)(tiny)), f"{WHEEL} has another sha256 than its manifest says; build it"),
        (lambda tiny: flip(in_store(OWN)(tiny)), f"{OWN} has another sha256 than its manifest says; build it again"),
        (lambda tiny: flip(in_store("requirements.txt")(tiny)), "requirements.txt has another sha256"),
        (lambda tiny: in_store(WHEEL)(tiny).write_bytes(b""), f"{WHEEL} has another sha256"),
        (lambda tiny: in_store(WHEEL)(tiny).unlink(), f"{WHEEL} is missing; build it again"),
        (lambda tiny: flip(in_store("manifest.json")(tiny)), "corrupted or signed by another key: manifest.json.sig"),
        (lambda tiny: flip(in_store("manifest.json.sig")(tiny)), "corrupted or signed by another key"),
        (lambda tiny: in_store("manifest.json.sig")(tiny).write_bytes(b""), "corrupted or signed by another key"),
        (lambda tiny: in_store("manifest.json.sig")(tiny).unlink(), "is unsigned: "),
        (lambda tiny: signing.create_key(tiny.key), "signed by another key"),
        (lambda tiny: Path(f"{tiny.key}.pub").unlink(), "is missing; copy the signing key's .pub there"),
        (lambda tiny: Path(f"{tiny.key}.pub").write_text("no key"), "the public key is no PEM public key"),
    ],
    ids=[
        "wheel", "own wheel", "requirements", "empty wheel", "no wheel", "manifest", "signature", "empty signature",
        "no signature", "other key", "no key", "broken key",
    ],
)  # fmt: skip
def test_an_artefact_that_is_not_what_was_signed_is_not_installed(
    tiny: Tiny, harm: Callable[[Tiny], object], line: str
) -> None:
    harm(tiny)
    assert line in refused(tiny, "installed")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}'])
def test_a_manifest_in_the_store_that_cannot_be_read_stops_the_build_in_one_line(tiny: Tiny, damage: bytes) -> None:
    in_store("manifest.json")(tiny).write_bytes(damage)
    assert "manifest.json is corrupted: it is no release manifest; build the release again" in refused(tiny, "built")


def test_a_signing_key_that_is_not_there_or_no_key(tiny: Tiny) -> None:
    new = {"services": [tiny.service("v1.1.0")], "create_key": False}
    assert "is missing; put it there" in refused(tiny, "built", **new, signing_key=tiny.base / "none")
    tiny.key.write_text("no key")
    assert "cannot be read as a PEM private key; make a new one" in refused(tiny, "built", **new)


def test_a_source_that_lacks_what_the_service_is_built_from(tiny: Tiny) -> None:
    gone = tiny.service("v1.1.0", packages=["services/gone"])
    assert "services/gone, which demo is built from, is not in" in refused(tiny, "built", services=[gone])
    assert "lock" in refused(tiny, "built", services=[tiny.service("v1.1.0", lock="locks/gone.txt")])
