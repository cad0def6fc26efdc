"""All SQL of pim-web and pim-worker. Every function raises DatabaseGone while the database does not answer."""

from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from pim import heartbeat
from pim.database import Database
from pim.probes import Probe

Row = dict[str, Any]


async def revision(db: Database) -> str | None:
    """The schema's revision; None in a database that was never migrated."""
    async with db.transaction() as sql:
        found = await (await sql.execute("SELECT to_regclass('alembic_version') IS NOT NULL AS there")).fetchone()
        if not found or not found["there"]:
            return None
        row = await (await sql.execute("SELECT version_num FROM alembic_version")).fetchone()
        return None if row is None else str(row["version_num"])


async def history(db: Database, service: str | None, limit: int) -> list[Row]:
    """Deployments, the newest first, without their logs and evidence, which one deployment's own page holds."""
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT id, service_name, component, version, action, status, environment, inventory, host,
                   started_at, completed_at, git_commit, requested_by
            FROM deployment_history
            WHERE %(service)s::text IS NULL OR service_name = %(service)s
            ORDER BY started_at DESC, id DESC LIMIT %(limit)s
            """,
            {"service": service, "limit": limit},
        )
        return await found.fetchall()


async def recent(db: Database, limit: int, log_characters: int) -> list[Row]:
    """Deployments for people, the newest first: one row for all components that were changed as one, with its log.

    `components` are their names; of a long log the end is given.
    """
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT max(id) AS id, service_name, array_agg(component ORDER BY component) AS components, version, action,
                   status, environment, inventory, started_at, completed_at, requested_by,
                   max(heartbeat_at) AS heartbeat_at, right(max(logs), %(log_characters)s) AS logs
            FROM (SELECT * FROM deployment_history ORDER BY started_at DESC, id DESC LIMIT %(limit)s * 12) AS newest
            GROUP BY service_name, version, action, status, environment, inventory, started_at, completed_at,
                     requested_by
            ORDER BY started_at DESC, max(id) DESC LIMIT %(limit)s
            """,
            {"limit": limit, "log_characters": log_characters},
        )
        return await found.fetchall()


async def server_version(db: Database) -> str:
    """The PostgreSQL server's version, such as 18.4."""
    async with db.transaction() as sql:
        major, minor = divmod(sql.info.server_version, 10_000)
        return f"{major}.{minor}"


async def configs(db: Database, service: str, version: str, environment: str) -> list[Row]:
    """The enabled configurations of one version in an environment: one per host, host None meaning any."""
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT host, port, config_json FROM service_configs
            WHERE service_name = %s AND version = %s AND environment = %s AND enabled
            ORDER BY host NULLS FIRST
            """,
            (service, version, environment),
        )
        return await found.fetchall()


async def config_versions(db: Database, service: str, environment: str) -> list[str]:
    """The versions that `service` has an enabled configuration of, the latest written first."""
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT version FROM service_configs WHERE service_name = %s AND environment = %s AND enabled
            GROUP BY version ORDER BY max(updated_at) DESC, version
            """,
            (service, environment),
        )
        return [row["version"] for row in await found.fetchall()]


async def config_services(db: Database, environment: str) -> list[str]:
    """The services that have any configuration in an environment."""
    async with db.transaction() as sql:
        found = await sql.execute(
            "SELECT DISTINCT service_name FROM service_configs WHERE environment = %s AND enabled ORDER BY 1",
            (environment,),
        )
        return [row["service_name"] for row in await found.fetchall()]


async def models(db: Database) -> list[Row]:
    """Registered model versions with the aliases that point to them, the newest first within a job."""
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT m.job, m.version, m.kind, m.bootstrap, m.trusted, m.schema_hash, m.created_at,
                   coalesce(array_agg(a.alias ORDER BY a.alias) FILTER (WHERE a.alias IS NOT NULL), '{}') AS aliases
            FROM models m LEFT JOIN model_aliases a ON a.model_id = m.id
            GROUP BY m.id ORDER BY m.job, m.created_at DESC, m.id DESC
            """
        )
        return await found.fetchall()


async def token_name(db: Database, token_sha256: str) -> str | None:
    """The name of the token with this hash unless it was revoked; notes its use, at most once a minute."""
    async with db.transaction() as sql:
        found = await sql.execute(
            "SELECT id, name FROM api_tokens WHERE token_sha256 = %s AND revoked_at IS NULL", (token_sha256,)
        )
        row = await found.fetchone()
        if row is None:
            return None
        await sql.execute(
            """
            UPDATE api_tokens SET last_used_at = now()
            WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
            """,
            (row["id"],),
        )
        return str(row["name"])


async def record_health(db: Database, service: str, seen: Probe, status: str, metadata: Row) -> None:
    """Add one line to service_health; `status` is the service's, which may differ from that of the instance seen."""
    async with db.transaction() as sql:
        await sql.execute(
            """
            INSERT INTO service_health (service_name, version, status, last_check, response_time_ms, metadata)
            VALUES (%s, %s, %s, %s, %s, %s)
            """,
            (service, seen.version, status, seen.at, seen.response_time_ms, Jsonb(metadata)),
        )


async def beat(db: Database, service: str, version: str, run: str) -> None:
    """Say that a process lives: one row per `run` (a name for this start of it), whose last_check moves on."""
    async with db.transaction() as sql:
        values = {"service": service, "version": version, "run": run}
        moved = await sql.execute(heartbeat.MOVE, values)
        if moved.rowcount == 0:
            await sql.execute(heartbeat.BEGIN, values)


async def last_beat(db: Database, service: str) -> Row | None:
    """The latest sign of life: `version` and `age_s`, by the database's clock; None when there never was one."""
    async with db.transaction() as sql:
        found = await sql.execute(
            """
            SELECT version, extract(epoch FROM now() - last_check)::float AS age_s FROM service_health
            WHERE service_name = %s ORDER BY last_check DESC LIMIT 1
            """,
            (service,),
        )
        return await found.fetchone()


async def prune_health(db: Database, older_than: timedelta) -> int:
    """Forget health records older than this; returns how many."""
    async with db.transaction() as sql:
        return (await sql.execute("DELETE FROM service_health WHERE last_check < now() - %s", (older_than,))).rowcount


async def make_partitions(db: Database, months_ahead: int) -> int:
    """Partitions of `predictions` for this month and those ahead; returns how many were missing."""
    async with db.transaction() as sql:
        row = await (await sql.execute("SELECT make_prediction_partitions(%s) AS made", (months_ahead,))).fetchone()
        return 0 if row is None else int(row["made"])
