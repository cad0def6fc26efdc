"""SCRAM verifiers: the ones we make and compare are PostgreSQL's own."""

from __future__ import annotations

import base64

import pytest
from ansible.module_utils.caelum.database.scram import matches, verifier
from ansible.module_utils.caelum.errors import Refused

# RFC 7677's example: user "user", password "pencil".
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
STORED = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_the_verifier_of_the_rfcs_example() -> None:
    assert verifier("pencil", salt=SALT) == STORED
    assert matches(STORED, "pencil")


@pytest.mark.parametrize(
    "stored", [None, "", "md5f0f0", STORED[:-4], STORED.replace("4096", "no"), "SCRAM-SHA-256$4096:%$a:b"]
)
def test_what_is_no_verifier_of_the_password_does_not_match(stored: str | None) -> None:
    assert not matches(stored, "pencil")


def test_another_password_does_not_match_and_salts_differ() -> None:
    assert not matches(STORED, "pencils")
    assert verifier("pencil") != verifier("pencil")


@pytest.mark.parametrize("password", ["", "pässword", "a\tb"])
def test_a_password_with_more_than_one_byte_form_is_refused(password: str) -> None:
    with pytest.raises(Refused, match="not plain ASCII"):
        verifier(password)
