"""The one expression for versions, and their order."""

from __future__ import annotations

import pytest
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.versions import newest_first, parse


@pytest.mark.parametrize("text", ["v0.0.0", "v1.2.3", "v10.20.30", "v1.2.0-beta", "v1.2.0-rc", "v1.2.0-rc.2"])
def test_a_version_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "v1.2",
        "v1.2.3.4",
        "v01.2.3",
        "v1.2.3-alpha",
        "v1.2.3-rc.0",
        "v1.2.3\n",
        "v1.2.3 ",
        "v1.2.3/..",
        "v١.٢.٣",
    ],
)
def test_what_is_not_a_version_is_refused_in_one_line_that_shows_a_right_one(text: str) -> None:
    with pytest.raises(Refused, match=r"is not a version; write .* v1\.2\.0") as refusal:
        parse(text)
    assert "\n" not in str(refusal.value)


def test_a_prerelease_comes_before_its_release_and_numbers_count_as_numbers() -> None:
    ordered = [
        "v1.10.0",
        "v1.9.0",
        "v1.9.0-rc.10",
        "v1.9.0-rc.2",
        "v1.9.0-rc",
        "v1.9.0-beta.3",
        "v1.9.0-beta",
        "v1.8.9",
    ]
    assert newest_first([*sorted(ordered), "rubbish", ".partial-v1.0.0"]) == ordered
