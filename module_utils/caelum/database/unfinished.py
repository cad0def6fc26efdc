"""Which services' newest deployment did not end well, so that the next one goes through every gate again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a type's name

NEWEST = """
    SELECT DISTINCT service_name FROM (
        SELECT DISTINCT ON (service_name, component) service_name, status FROM public.deployment_history
        WHERE inventory = %s AND status <> 'queued' ORDER BY service_name, component, id DESC
    ) AS newest WHERE status IN ('in_progress', 'failed', 'aborted') ORDER BY service_name
"""


def services(cursor: Cursor, inventory: str) -> list[str]:
    """Names of the services with a component whose newest deployment is open, failed or aborted."""
    cursor.execute("SELECT to_regclass('public.deployment_history') IS NOT NULL")
    if not (cursor.fetchone() or (False,))[0]:
        return []
    cursor.execute(NEWEST, (inventory,))
    return [str(row[0]) for row in cursor.fetchall()]
