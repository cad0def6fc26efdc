"""`caelum_model` against a real PostgreSQL and real checkpoint files: a champion, and verified copies of it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.ansible_path import ROOT
from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]

JOB = "llm1-tech"


def make_checkpoint(folder: Path, version: str, *, bootstrap: bool = False, content: bytes = b"") -> Path:
    """A checkpoint's three files; the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for suffix in ("pt", "onnx"):
        name = f"{JOB}-{version}.{suffix}"
        data = f"{suffix} of {version}".encode() * 1000 + content
        (folder / name).write_bytes(data)
        files[suffix] = {"name": name, "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {
        "job": JOB,
        "version": version,
        "kind": "ridge",
        "schema_hash": "5" * 64,
        "data": {"source": "sample", "hash": "d", "first": "2005-01-03", "last": "2013-03-01"},
        "metrics": {"pinball": {"value": 1e-05, "low": None, "high": 0.1}},
        "bootstrap": bootstrap,
        "trusted": not bootstrap,
        "files": files,
    }
    path = folder / f"{JOB}-{version}.json"
    path.write_text(json.dumps(manifest, indent=2))
    return path


@pytest.fixture
def params(login: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return {
        "database": login,
        "job": JOB,
        "checkpoints": str(tmp_path / "share"),
        "serving_dir": str(tmp_path / "host" / "models"),
    }


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return tmp_path / "host" / "models"


def model(params: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("caelum_model", {**params, **more}, check=check)


def alias(params: dict[str, Any], version: str, name: str = "champion", **more: Any) -> dict[str, Any]:
    return model(params, state="aliased", alias=name, version=version, **more)


def aliases(database: Database) -> dict[str, str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT alias, version FROM model_aliases JOIN models ON models.id = model_id"
        ).fetchall()
    return {str(row[0]): str(row[1]) for row in rows}


def test_the_newest_checkpoint_becomes_champion_and_is_copied_to_the_host(
    migrated_database: Database, params: dict[str, Any], share: Path, host: Path
) -> None:
    for version in ("v1.2.0", "v1.10.0", "v1.9.0"):
        make_checkpoint(share, version, bootstrap=True)
    rehearsed = model(params, check=True)
    assert (rehearsed["changed"], rehearsed["version"], host.exists()) == (True, "v1.10.0", False)
    assert aliases(migrated_database) == {}

    made = model(params)
    path = host / f"{JOB}-v1.10.0.onnx"
    assert made["registry"] == rehearsed["registry"] == {JOB: {"champion": str(path)}}
    assert (made["diff"], made["copied"]) == (rehearsed["diff"], [path.name, f"{JOB}-v1.10.0.json"])
    assert path.read_bytes() == (share / path.name).read_bytes()
    with migrated_database.connect() as connection:
        row = connection.execute(
            "SELECT version, kind, checkpoint, sha256_onnx, bootstrap, trusted, manifest FROM models"
        ).fetchone()
    assert row is not None
    manifest = json.loads((share / f"{JOB}-v1.10.0.json").read_text())
    onnx = hashlib.sha256(path.read_bytes()).hexdigest()
    assert row == ("v1.10.0", "ridge", f"{JOB}-v1.10.0.pt", onnx, True, False, manifest)

    again = model(params)
    assert (again["changed"], again["copied"], again["registry"]) == (False, [], made["registry"])


def test_a_second_look_hashes_nothing_and_needs_no_share(params: dict[str, Any], share: Path, host: Path) -> None:
    make_checkpoint(share, "v1.0.0")
    model(params)
    onnx = host / f"{JOB}-v1.0.0.onnx"
    share.rename(share.with_name("away"))
    assert not model(params)["changed"]
    # Same size and time of change, other bytes: only who hashes would see it.
    before = onnx.stat()
    with onnx.open("r+b") as file:
        file.write(b"X")
    os.utime(onnx, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not model(params)["changed"]


@pytest.mark.parametrize("damage", ["altered", "gone", "manifest"])
def test_a_copy_that_was_altered_is_brought_again(params: dict[str, Any], share: Path, host: Path, damage: str) -> None:
    make_checkpoint(share, "v1.0.0")
    model(params)
    path = host / f"{JOB}-v1.0.0.{'json' if damage == 'manifest' else 'onnx'}"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"{}")
    healed = model(params)
    assert (healed["changed"], healed["copied"]) == (True, [path.name])
    assert path.read_bytes() == (share / path.name).read_bytes()
    assert sorted(p.suffix for p in host.iterdir() if not p.name.startswith(".verified")) == [".json", ".onnx"]


def test_a_file_that_is_not_its_manifests_never_becomes_champion(
    migrated_database: Database, params: dict[str, Any], share: Path
) -> None:
    make_checkpoint(share, "v1.0.0")
    (share / f"{JOB}-v1.0.0.pt").write_bytes(b"other weights")
    assert "is not what its manifest describes" in model(params)["msg"]
    assert aliases(migrated_database) == {}


def test_a_share_that_changed_under_a_registered_version_is_refused(
    params: dict[str, Any], share: Path, host: Path
) -> None:
    make_checkpoint(share, "v1.0.0")
    model({**params, "serving_dir": None})
    make_checkpoint(share, "v1.0.0", content=b"!")
    assert "is not what its manifest describes" in model(params)["msg"]
    assert not list(host.glob("*.onnx"))
    assert "is registered with other files" in model(params, state="registered")["msg"]


def trainer(share: Path, version: str = "v1.0.0") -> dict[str, Any]:
    """A training that takes finvec's place: this file makes the checkpoint, with progress lines as finvec's."""
    return {
        "command": [sys.executable, __file__, str(share), version],
        "environment": {"BOOTSTRAP": 1, "PYTHONPATH": str(Path(__file__).parents[1])},
    }


def test_without_champion_and_checkpoint_a_model_is_trained_once(
    migrated_database: Database, params: dict[str, Any], share: Path, tmp_path: Path
) -> None:
    progress = tmp_path / "progress.log"
    params = {**params, "train": trainer(share), "progress": str(progress)}
    rehearsed = model(params, check=True)
    assert (rehearsed["changed"], rehearsed["trained"], rehearsed["version"], share.exists()) == (True, True, "", False)
    made = model(params)
    assert (made["trained"], made["version"]) == (True, "v1.0.0"), made
    assert progress.read_text() == "training\n"
    assert aliases(migrated_database) == {"champion": "v1.0.0"}
    again = model(params)
    assert (again["changed"], again["trained"]) == (False, False)
    assert progress.read_text() == "training\n"


def test_a_check_before_there_is_a_database_says_what_the_first_run_does(params: dict[str, Any]) -> None:
    nobody = {**params["database"], "user": "nobody_yet"}
    first = {"command": [sys.executable, "-c", "raise SystemExit(1)"]}
    rehearsed = model(params, check=True, database=nobody, train=first)
    assert (rehearsed["changed"], rehearsed["version"]) == (True, "")
    assert "trained now" in rehearsed["diff"]["after"]
    assert "refused the login" in model(params, database=nobody, train=first)["msg"]


def test_a_training_that_fails_says_why(params: dict[str, Any], share: Path) -> None:
    failing = {
        "command": [sys.executable, "-c", "import sys; sys.exit('10%\\r90%\\rfinvec: no bars; check CAELUM_DATA')"]
    }
    assert model(params, train=failing)["msg"].startswith(
        f"the training of {JOB} failed: finvec: no bars; check CAELUM_DATA;"
    )
    silent = {"command": [sys.executable, "-c", "print('done')"]}
    assert "did not end with a JSON object" in model(params, train=silent)["msg"]
    astray = trainer(share.with_name("elsewhere"))
    assert f"pass `--out {share}`" in model(params, train=astray)["msg"]


def test_without_training_the_way_to_a_champion_is_named(params: dict[str, Any], share: Path) -> None:
    refused = model(params)["msg"]
    assert f"no champion for job {JOB}, and no checkpoint in {share}" in refused
    assert refused.endswith("`-e finvec_bootstrap=sample`")
    assert "finvec_bootstrap" in yaml.safe_load((ROOT / "roles/finvec/defaults/main.yml").read_text())


def test_a_champion_that_gives_way_becomes_previous_and_both_are_served(
    migrated_database: Database, params: dict[str, Any], share: Path, host: Path
) -> None:
    make_checkpoint(share, "v1.0.0")
    model(params)
    make_checkpoint(share, "v1.1.0")
    assert "is not registered" in alias(params, "v1.1.0")["msg"]
    assert model(params, state="registered", check=True)["changed"]
    assert model(params, state="registered")["version"] == "v1.1.0"
    assert not model(params, state="registered")["changed"]
    assert alias(params, "v1.1.0", check=True)["changed"]
    moved = alias(params, "v1.1.0")
    assert moved["diff"] == {"before": f"champion of {JOB}: v1.0.0\n", "after": f"champion of {JOB}: v1.1.0\n"}
    assert not alias(params, "v1.1.0")["changed"]
    assert aliases(migrated_database) == {"champion": "v1.1.0", "previous": "v1.0.0"}
    assert model(params)["registry"] == {
        JOB: {"champion": str(host / f"{JOB}-v1.1.0.onnx"), "previous": str(host / f"{JOB}-v1.0.0.onnx")}
    }
    alias(params, "v1.0.0")
    assert aliases(migrated_database) == {"champion": "v1.0.0", "previous": "v1.1.0"}


def test_a_previous_model_that_is_lost_is_told_and_left_out(params: dict[str, Any], share: Path, host: Path) -> None:
    make_checkpoint(share, "v1.0.0")
    model({**params, "serving_dir": None})
    make_checkpoint(share, "v1.1.0")
    model(params, state="registered")
    alias(params, "v1.1.0")
    (share / f"{JOB}-v1.0.0.onnx").unlink()
    result = model(params)
    assert "the previous model of llm1-tech is not on this host" in result["warnings"][0]
    assert list(result["registry"][JOB]) == ["champion"]


def test_pruning_keeps_the_newest_and_whatever_an_alias_names(params: dict[str, Any], share: Path, host: Path) -> None:
    make_checkpoint(share, "v1.0.0")
    model(params)
    for minor in range(1, 8):
        make_checkpoint(share, f"v1.{minor}.0")
    (share / f".{JOB}-local.state.pt").write_bytes(b"resumable")
    rehearsed = model(params, state="pruned", check=True)
    assert len(list(share.glob("*.json"))) == 8
    pruned = model(params, state="pruned")
    assert pruned["removed"] == rehearsed["removed"] == [f"{share}/{JOB}-v1.2.0", f"{share}/{JOB}-v1.1.0"]
    left = {path.name for path in share.glob("llm1*")}
    assert left == {f"{JOB}-v1.{minor}.0.{s}" for minor in (0, 3, 4, 5, 6, 7) for s in ("pt", "onnx", "json")}
    assert (share / f".{JOB}-local.state.pt").exists()
    assert (host / f"{JOB}-v1.0.0.onnx").exists()
    assert not model(params, state="pruned")["changed"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"job": "llm1-tech", "version": "v9.9.9", "files": 1}'])
def test_a_manifest_that_is_none_is_named(params: dict[str, Any], share: Path, content: str) -> None:
    make_checkpoint(share, "v1.0.0").write_text(content)
    assert "is not a manifest" in model(params)["msg"]


def test_a_manifest_cannot_point_out_of_its_folder(params: dict[str, Any], share: Path) -> None:
    path = make_checkpoint(share, "v1.0.0")
    path.write_text(path.read_text().replace(f"{JOB}-v1.0.0.onnx", "../../etc/passwd"))
    assert "does not describe" in model(params)["msg"]


if __name__ == "__main__":
    folder, version, option, progress = sys.argv[1:] if len(sys.argv) > 3 else [*sys.argv[1:], "", ""]
    written = make_checkpoint(Path(folder), version, bootstrap=os.environ["BOOTSTRAP"] == "1")
    if option == "--progress":
        Path(progress).write_text("training\n")
    print("a line of its own")
    print(json.dumps({"manifest": str(written), "onnx": str(written.with_suffix(".onnx"))}))
