"""Builds: immutable, reproducible, signed, there whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.release import signing

from support.tiny_release import Tiny, commit_all, lock_line, tiny_repository, write_wheel


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    repository = tiny_repository(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.index))
    return repository


def manifest_of(tiny: Tiny, version: str = "v1.0.0") -> dict[str, object]:
    document: dict[str, object] = json.loads((tiny.store / "demo" / version / "manifest.json").read_bytes())
    return document


def test_a_release_holds_its_wheels_with_their_hashes_and_a_signature_that_both_checkers_accept(tiny: Tiny) -> None:
    result = tiny.run("built")
    folder = tiny.store / "demo/v1.0.0"
    assert result["changed"]
    assert sorted(path.name.split("-")[0] for path in (folder / "wheels").iterdir()) == [
        "leftpad",
        "tiny_common",
        "tiny_demo",
    ]
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert [line.split(" --hash=sha256:")[0] for line in lines] == ["leftpad==1.3", "tiny-common==0", "tiny-demo==0"]
    described = manifest_of(tiny)
    assert described["packages"] == ["tiny-common", "tiny-demo"]
    assert described["commit"] == tiny.git("rev-parse", "HEAD")
    assert (described["source"], described["dirty"]) == ("worktree", False)
    data, signature = (folder / "manifest.json").read_bytes(), (folder / "manifest.json.sig").read_bytes()
    public = signing.public_path(tiny.key).read_bytes()
    assert tiny.key.stat().st_mode & 0o777 == 0o600
    for check in (signing.verify, signing.verify_with_openssl):
        assert check(public, data, signature)
        assert not check(public, data + b" ", signature)


def test_a_second_build_changes_nothing_and_a_third_elsewhere_gives_the_same_bytes(tiny: Tiny) -> None:
    tiny.run("built")
    folder = tiny.store / "demo/v1.0.0"
    inode = folder.stat().st_ino
    assert not tiny.run("built")["changed"]
    assert folder.stat().st_ino == inode
    tiny.run("built", store=tiny.base / "elsewhere", pool=tiny.base / "other-pool")
    for name in ("manifest.json", "manifest.json.sig", "requirements.txt"):
        assert (tiny.base / "elsewhere/demo/v1.0.0" / name).read_bytes() == (folder / name).read_bytes()


def test_other_content_under_a_known_version_is_refused_and_replaced_only_by_rebuild_in_dev(tiny: Tiny) -> None:
    tiny.run("built")
    before = (tiny.store / "demo/v1.0.0/manifest.json").read_bytes()
    tiny.write("services/demo/src/tiny_demo/__init__.py", "NAME = 'changed'\n")
    with pytest.raises(
        Refused, match=r"v1\.0\.0 of demo .* other content \(services/demo/\S+ differs\); raise the version"
    ):
        tiny.run("built")
    with pytest.raises(Refused, match="rebuild=true is for local use, this environment is prod"):
        tiny.run("built", rebuild=True, environment_name="prod")
    assert (tiny.store / "demo/v1.0.0/manifest.json").read_bytes() == before
    assert tiny.run("built", rebuild=True)["changed"]
    assert manifest_of(tiny)["dirty"] is True
    assert not tiny.run("built")["changed"]


def test_check_mode_says_what_it_would_build_and_builds_nothing(tiny: Tiny) -> None:
    result = tiny.run("built", check_mode=True)
    assert result["changed"]
    assert "demo v1.0.0" in result["diff"]["after"]
    assert not tiny.store.exists()
    assert not tiny.key.exists()
    tiny.run("built")
    assert not tiny.run("built", check_mode=True)["changed"]


def test_a_tag_is_built_whatever_the_working_tree_holds_and_the_services_own_tag_comes_first(tiny: Tiny) -> None:
    first = tiny.git("rev-parse", "HEAD")
    tiny.git("tag", "v1.0.0")
    tiny.write("services/demo/src/tiny_demo/__init__.py", "NAME = 'second'\n")
    second = commit_all(tiny, "second")
    tiny.write("services/demo/src/tiny_demo/__init__.py", "NAME = 'not committed'\n")
    tiny.run("built")
    assert (manifest_of(tiny)["source"], manifest_of(tiny)["commit"], manifest_of(tiny)["dirty"]) == (
        "v1.0.0",
        first,
        False,
    )
    tiny.git("tag", "-a", "-m", "narrower", "demo/v1.1.0", second)
    tiny.git("tag", "v1.1.0", first)
    tiny.run("built", services=[tiny.service("v1.1.0")])
    assert (manifest_of(tiny, "v1.1.0")["source"], manifest_of(tiny, "v1.1.0")["commit"]) == ("demo/v1.1.0", second)


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_only_dev_builds_without_a_tag(tiny: Tiny, environment: str) -> None:
    with pytest.raises(Refused, match=rf"no git tag v1\.0\.0 .* {environment} builds from tags only; known: none; tag"):
        tiny.run("built", environment_name=environment)


@pytest.mark.package("openssh-client")
def test_prod_builds_a_tag_by_an_allowed_signer_and_no_other(tiny: Tiny) -> None:
    key = tiny.base / "signer"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers = tiny.base / "allowed_signers"
    signers.write_text(f"a@example.org {key.with_suffix('.pub').read_text()}")
    tiny.git("tag", "-a", "-m", "unsigned", "v1.0.0")
    with pytest.raises(Refused, match=r"tag v1\.0\.0 .* is not signed by an allowed signer"):
        tiny.run("built", environment_name="prod", allowed_signers=signers)
    tiny.git("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "tag", "-f", "-s", "-m", "signed", "v1.0.0")
    assert tiny.run("built", environment_name="prod", allowed_signers=signers)["changed"]
    signers.write_text("")
    with pytest.raises(Refused, match="not signed by an allowed signer"):
        tiny.run("built", environment_name="prod", allowed_signers=signers)


def test_new_files_enter_a_working_tree_build_and_ignored_ones_do_not(tiny: Tiny) -> None:
    tiny.write("services/demo/src/tiny_demo/new.py", "")
    tiny.write("services/demo/src/tiny_demo/key.secret", "hush")
    tiny.write("services/demo/src/tiny_demo/__pycache__/new.pyc", "")
    tiny.run("built")
    inputs = manifest_of(tiny)["inputs"]
    assert isinstance(inputs, dict)
    assert {path.rsplit("/", 1)[-1] for path in inputs} == {"__init__.py", "new.py", "pyproject.toml", "demo.txt"}
    assert manifest_of(tiny)["dirty"] is True


def test_a_source_without_git_gives_the_same_digest(tiny: Tiny) -> None:
    with_git = tiny.run("built")["releases"][0]["source_digest"]
    shutil.rmtree(tiny.root / ".git")
    result = tiny.run("built", store=tiny.base / "elsewhere")["releases"][0]
    assert (result["source_digest"], result["commit"], result["dirty"]) == (with_git, None, True)
    assert not tiny.run("built")["changed"]


def test_what_is_not_a_version_is_refused(tiny: Tiny) -> None:
    with pytest.raises(Refused, match="'latest' is not a version"):
        tiny.run("built", services=[tiny.service("latest")])


def test_a_wheel_that_cannot_be_had_is_one_line_and_leaves_nothing(tiny: Tiny) -> None:
    for wheel in tiny.index.iterdir():
        wheel.unlink()
    with pytest.raises(Refused, match=r"cannot download leftpad==1\.3: .*PIP_EXTRA_INDEX_URL") as refusal:
        tiny.run("built")
    assert "\n" not in str(refusal.value)
    assert [path for path in tiny.store.rglob("*") if path.is_dir()] == []


def test_a_wheel_that_the_lock_does_not_vouch_for_is_refused(tiny: Tiny) -> None:
    write_wheel(tiny.index, "leftpad", "1.3", {"leftpad.py": "raise SystemExit('stolen')\n"})
    with pytest.raises(Refused, match=r"leftpad==1\.3: the index serves a file that the lock's sha256 does not fit"):
        tiny.run("built")


def test_a_damaged_wheel_in_the_pool_is_fetched_again(tiny: Tiny) -> None:
    pool = tiny.base / "pool"
    write_wheel(pool, "leftpad", "1.3", {"leftpad.py": "damaged"})
    tiny.run("built")
    assert (pool / "leftpad-1.3-py3-none-any.whl").read_bytes() == (
        tiny.index / "leftpad-1.3-py3-none-any.whl"
    ).read_bytes()


def test_two_services_share_one_download(tiny: Tiny) -> None:
    tiny.run("built", services=[tiny.service(), tiny.service(name="other")])
    inodes = {
        (tiny.store / name / "v1.0.0/wheels/leftpad-1.3-py3-none-any.whl").stat().st_ino for name in ("demo", "other")
    }
    assert inodes == {(tiny.base / "pool/leftpad-1.3-py3-none-any.whl").stat().st_ino}


def test_a_third_partys_service_is_its_lock_and_needs_no_tag(tiny: Tiny) -> None:
    tiny.run("built", services=[tiny.service(packages=[])], environment_name="prod")
    assert (tiny.store / "demo/v1.0.0/requirements.txt").read_text().startswith("leftpad==1.3 ")


def test_the_automatic_variant_falls_back_where_the_preferred_wheel_is_nowhere_and_says_so(tiny: Tiny) -> None:
    absent = write_wheel(tiny.base / "away", "engine", "2.0+cpu", {"engine.py": ""})
    tiny.write("locks/cpu.txt", lock_line(absent))
    tiny.write("locks/cuda.txt", lock_line(write_wheel(tiny.index, "engine", "2.0", {"engine.py": ""})))
    variants = {"cpu": "locks/cpu.txt", "cuda": "locks/cuda.txt"}
    service = tiny.service(lock=None, variants=variants, variant="auto")
    lines = tiny.base / "progress"
    assert tiny.run("built", services=[service], progress=lines)["releases"][0]["variant"] == "cuda"
    assert "taking variant cuda: cannot download engine==2.0+cpu" in lines.read_text()
    assert not tiny.run("built", services=[service])["changed"]
    shutil.copy(absent, tiny.index)
    assert not tiny.run("built", services=[service])["changed"]
    other = tiny.run("built", services=[service | {"version": "v1.1.0"}])
    assert other["releases"][0]["variant"] == "cpu"


def test_what_a_killed_build_left_is_cleared_and_never_listed(tiny: Tiny) -> None:
    left = tiny.store / "demo/.partial-v1.0.0-killed/wheels"
    left.mkdir(parents=True)
    assert tiny.run("listed")["listing"]["demo"]["store"] == []
    tiny.run("built")
    assert [path.name for path in (tiny.store / "demo").iterdir()] == ["v1.0.0"]


def test_a_signing_key_that_others_can_read_is_refused_before_the_work(tiny: Tiny) -> None:
    tiny.run("built")
    tiny.key.chmod(0o644)
    with pytest.raises(Refused, match="can be read by others; run `chmod 600"):
        tiny.run("built", services=[tiny.service("v1.1.0")])
    with pytest.raises(Refused, match=r"signing key \S+ is missing; put it there, or pass create_key=true"):
        tiny.run("built", services=[tiny.service("v1.1.0")], signing_key=tiny.base / "none", create_key=False)
