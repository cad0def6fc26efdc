"""Deployments that did not end well are found, so that the next run does not take silence for success."""

from __future__ import annotations

import pytest
from ansible.module_utils.caelum.database import unfinished
from ansible.module_utils.caelum.database.connection import transaction

from support.modules import login_of
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]


def record(database: Database, service: str, component: str, status: str, inventory: str = "local") -> None:
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO deployment_history (service_name, component, version, action, status, inventory)"
            " VALUES (%s, %s, 'v1.1.0', 'deploy', %s, %s)",
            (service, component, status, inventory),
        )


def found(database: Database, inventory: str = "local") -> list[str]:
    with transaction(login_of(database)) as cursor:
        return unfinished.services(cursor, inventory)


def test_a_fresh_history_has_nothing_unfinished(migrated_database: Database) -> None:
    assert found(migrated_database) == []


@pytest.mark.parametrize("status", ["failed", "aborted", "in_progress"])
def test_the_newest_row_of_any_component_counts(migrated_database: Database, status: str) -> None:
    record(migrated_database, "pim", "pim-web", "success")
    record(migrated_database, "pim", "pim-worker", "success")
    record(migrated_database, "pim", "pim-web", status)
    record(migrated_database, "fincoll", "fincoll", status)
    record(migrated_database, "fincoll", "fincoll", "success")
    assert found(migrated_database) == ["pim"]
    record(migrated_database, "pim", "pim-worker", "success")
    assert found(migrated_database) == ["pim"], "another component's success heals nothing"


def test_other_inventories_and_requests_in_the_queue_do_not_count(migrated_database: Database) -> None:
    record(migrated_database, "pim", "pim-web", "failed", inventory="production")
    record(migrated_database, "senvec", "news", "queued")
    assert found(migrated_database) == []
    assert found(migrated_database, "production") == ["pim"]
