"""Finding the database, and the schema's revisions."""

import json
from pathlib import Path

import pytest

from pim import migrate, schema
from pim.address import CREDENTIALS, Address, NoDatabase, address

GIVEN = {"host": "10.0.0.1", "port": 15433, "database": "pim_database", "user": "pim_user", "password": "s3cret"}
FOUND = Address("10.0.0.1", 15433, "pim_database", "pim_user", "s3cret")


def credentials(folder: Path, content: object) -> dict[str, str]:
    (folder / CREDENTIALS).write_text(content if isinstance(content, str) else json.dumps(content))
    return {"CREDENTIALS_DIRECTORY": str(folder), "DATABASE_URL": "postgresql://other@elsewhere/else"}


def test_the_credentials_file_comes_before_the_url(tmp_path: Path) -> None:
    assert address(credentials(tmp_path, GIVEN)) == FOUND


def test_the_url_is_enough() -> None:
    assert address({"DATABASE_URL": "postgresql://pim_user:s3cret@10.0.0.1:15433/pim_database"}) == FOUND


@pytest.mark.parametrize("content", ["{s3cret", [], {**GIVEN, "port": "s3cret"}, {"password": "s3cret"}])
def test_a_broken_file_is_refused_in_one_line_that_names_it_and_not_the_secret(tmp_path: Path, content: object) -> None:
    with pytest.raises(NoDatabase) as refused:
        address(credentials(tmp_path, content))
    line = str(refused.value)
    assert str(tmp_path / CREDENTIALS) in line
    assert "s3cret" not in line
    assert "\n" not in line


def test_naming_no_database_says_how_to_name_one() -> None:
    with pytest.raises(NoDatabase, match="CREDENTIALS_DIRECTORY is not set, nor is DATABASE_URL"):
        address({})
    with pytest.raises(NoDatabase, match="names no dbname; write postgresql://"):
        address({"DATABASE_URL": "postgresql://u:p@host"})


def test_a_password_is_in_no_text_of_an_address() -> None:
    assert "s3cret" not in f"{FOUND!r} {FOUND} {FOUND.explain(OSError('connection refused'))}"


def test_the_head_read_from_file_names_is_alembics() -> None:
    assert schema.head() == migrate.head()


def test_an_older_schema_is_refused_and_a_newer_one_served() -> None:
    assert schema.complaint(schema.head()) is None
    assert schema.complaint("9999") is None
    assert "python -m pim.migrate upgrade" in (schema.complaint("0000") or "")
    assert "holds no schema" in (schema.complaint(None) or "")
