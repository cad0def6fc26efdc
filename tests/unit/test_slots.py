"""Slots point to complete releases only, and a switch is one rename."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.slots import observe, plan_switch, slot_path, slots_of


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    for version in ("v1.0.0", "v1.1.0"):
        folder = tmp_path / "opt/caelum/pim/releases" / version
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    (tmp_path / "opt/caelum/pim/releases/v1.2.0").mkdir()
    return slot_path(tmp_path, "pim", "pim-web", "stable")


def test_a_switch_makes_the_link_and_a_second_plan_is_empty(slot: Path) -> None:
    plan = plan_switch(observe(slot), "v1.1.0")
    assert plan
    assert plan.diff()["after"] == "pim-web@stable -> v1.1.0\n"
    plan.apply()
    assert slot.readlink() == Path("../releases/v1.1.0")
    assert (slot / "manifest.json").is_file()
    assert not plan_switch(observe(slot), "v1.1.0")
    plan_switch(observe(slot), "v1.0.0").apply()
    assert slots_of(slot.parent.parent) == {"pim-web@stable": "v1.0.0"}
    assert [entry.name for entry in slot.parent.iterdir()] == ["pim-web@stable"]


def test_a_release_without_a_manifest_is_refused_and_the_complete_ones_are_named(slot: Path) -> None:
    with pytest.raises(Refused, match=r"'v1\.2\.0' is not complete .*known: v1\.1\.0, v1\.0\.0; install"):
        plan_switch(observe(slot), "v1.2.0")


def test_a_slot_whose_release_was_damaged_is_refused_even_if_it_points_there(slot: Path) -> None:
    plan_switch(observe(slot), "v1.0.0").apply()
    (slot / "manifest.json").unlink()
    with pytest.raises(Refused, match="not complete"):
        plan_switch(observe(slot), "v1.0.0")
