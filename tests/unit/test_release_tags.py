"""What a version means: the narrowest tag that names it, and outside dev nothing without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.errors import Refused

from support.tiny_release import Tiny, commit_all, tiny_repository


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    repository = tiny_repository(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.index))
    return repository


def commits(tiny: Tiny, *names: str) -> dict[str, str]:
    """Three commits that differ; by tag the commit that it names."""
    found = {}
    for name in names:
        tiny.write("services/demo/src/tiny_demo/__init__.py", f"NAME = {name!r}\n")
        found[name] = commit_all(tiny, name)
        tiny.git("tag", name)
    return found


def source(tiny: Tiny, version: str) -> tuple[Any, Any]:
    document = json.loads((tiny.store / "demo" / version / "manifest.json").read_bytes())
    return document["source"], document["commit"]


def test_a_components_own_tag_comes_before_the_services_and_that_before_the_ecosystems(tiny: Tiny) -> None:
    made = commits(tiny, "v1.0.0", "demo/v1.0.0", "part/v1.0.0", "v1.1.0", "part/v1.2.0", "demo/v1.3.0", "v1.3.0")
    for version, components, tag in (
        ("v1.0.0", ["part"], "part/v1.0.0"),
        ("v1.1.0", ["part"], "v1.1.0"),
        ("v1.2.0", ["other", "part"], "part/v1.2.0"),
        ("v1.3.0", [], "demo/v1.3.0"),
    ):
        tiny.run("built", services=[tiny.service(version, components=components)], environment_name="test")
        assert source(tiny, version) == (tag, made[tag])


def test_a_components_tag_is_no_version_of_the_whole_service(tiny: Tiny) -> None:
    commits(tiny, "part/v1.0.0")
    with pytest.raises(Refused, match=r"v1\.0\.0 of demo has no git tag v1\.0\.0"):
        tiny.run("built", environment_name="test")
    assert tiny.run("built")["releases"][0]["source"] == "worktree"


def test_what_two_tags_mean_by_one_version_is_refused_when_it_differs(tiny: Tiny) -> None:
    commits(tiny, "v1.0.0", "part/v1.0.0")
    tiny.run("built", services=[tiny.service(components=["part"])])
    with pytest.raises(Refused, match=r"v1\.0\.0 of demo is in the store with other content"):
        tiny.run("built")


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_outside_dev_an_unknown_version_lists_those_that_have_a_tag_the_newest_first(
    tiny: Tiny, environment: str
) -> None:
    for name in ("v1.9.0", "v1.10.0", "demo/v1.11.0", "part/v1.12.0", "other/v9.0.0", "nightly", "a/b/v8.0.0"):
        tiny.git("tag", name)
    service = tiny.service("v2.0.0", components=["part"])
    line = rf"no git tag v2\.0\.0 in \S+, and {environment} builds from tags only; known: v1\.12\.0, v1\.11\.0, "
    with pytest.raises(Refused, match=line + r"v1\.10\.0, v1\.9\.0; tag the commit"):
        tiny.run("built", services=[service], environment_name=environment)
    assert not tiny.store.exists()


def test_a_long_list_of_known_versions_ends_with_how_many_more(tiny: Tiny) -> None:
    for minor in range(11):
        tiny.git("tag", f"v1.{minor}.0")
    with pytest.raises(Refused, match=r"known: v1\.10\.0, .*, v1\.3\.0 and 3 older; tag"):
        tiny.run("built", services=[tiny.service("v2.0.0")], environment_name="prod")


@pytest.mark.parametrize("version", ["v1.2.0-beta", "v1.2.0-rc.1"])
def test_a_version_before_its_release_is_built_from_its_tag_like_any_other(tiny: Tiny, version: str) -> None:
    tiny.git("tag", version)
    made = tiny.run("built", services=[tiny.service(version)], environment_name="test")
    assert made["releases"][0]["source"] == version
    assert tiny.run("installed", services=[tiny.service(version)])["changed"]
