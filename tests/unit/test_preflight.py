"""What cannot work is refused in one line before anything is built."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.caelum.preflight import Asked, declared, refusal

FINE = Asked(
    version="v1.1.0", service="", inventory="local", runtime="native", prefix="/opt/caelum-1234abcd",
    known=("caelum_prefix", "caelum_port_base", "fincoll_port", "fincoll_slots"),
)  # fmt: skip


def asked(**changes: object) -> str:
    return refusal(dataclasses.replace(FINE, **changes))


def test_nothing_speaks_against_a_plain_run() -> None:
    assert refusal(FINE) == ""
    assert asked(service="fincoll", given=("version", "service", "fincoll_port", "ansible_user", "my_own")) == ""


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"version": ""}, "no version given; name one"),
        ({"version": "latest"}, "'latest' is not a version"),
        ({"service": "fincol"}, "there is no service 'fincol'; known: senvec, finvec, fincoll, pim"),
        ({"runtime": "systemd", "inventory": "production"}, "runtime systemd of inventory production is not supported"),
        ({"given": ("fincol_port",)}, "there is no variable fincol_port; did you mean fincoll_port?"),
        ({"given": ("caelum_portbase",)}, "there is no variable caelum_portbase; did you mean caelum_port_base?"),
        ({"given": ("verison",)}, "there is no variable verison; did you mean version?"),
        ({"given": ("fincoll_gpu_memory",)}, "there is no variable fincoll_gpu_memory; README lists all"),
        ({"prefix": "/" + "x" * 90}, "has 111 bytes, and 99 is the limit; choose a shorter folder"),
    ],
)
def test_each_fault_is_named_with_its_remedy(changes: dict[str, object], line: str) -> None:
    assert line in asked(**changes)


def test_the_longest_prefix_that_works_is_taken() -> None:
    tail = len("/run/supervisor.sock")
    assert asked(prefix="/" + "x" * (99 - tail - 1)) == ""
    assert "has 100 bytes" in asked(prefix="/" + "x" * (99 - tail))


def test_as_root_a_closed_folder_on_the_way_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    closed = tmp_path / "closed"
    prefix = str(closed / "caelum")
    # pytest's own folders are closed to others too: the first on the way is named
    first = next(
        folder for folder in reversed(Path(prefix).parents) if folder.exists() and not folder.stat().st_mode & 1
    )
    assert f"cannot enter {first} on the way" in asked(prefix=prefix, as_root=True)
    assert f"chmod o+x {first}" in asked(prefix=prefix, as_root=True)
    assert asked(prefix=prefix, as_root=False) == ""


def test_all_roles_together_declare_what_is_known() -> None:
    specs: list[dict[str, Any]] = [
        {"argument_specs": {"main": {"options": {"b": {}, "a": {}}}}},
        {"argument_specs": {"x": {"options": {"a": {}}}}},
    ]
    assert declared(specs) == ("a", "b")
