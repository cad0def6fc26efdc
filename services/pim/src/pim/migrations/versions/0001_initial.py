"""The specification's three tables, and what releases, models, predictions and audit need.

Written as SQL (of PostgreSQL 15) and not as SQLAlchemy tables: what stands here is what runs, and a later change of
the code's table definitions cannot alter history.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

CONFIGURATION = """
CREATE TABLE service_configs (
    id           serial PRIMARY KEY,
    service_name varchar(50) NOT NULL,
    version      varchar(20) NOT NULL,
    config_json  jsonb NOT NULL CHECK (jsonb_typeof(config_json) = 'object'),
    environment  varchar(20) NOT NULL,
    host         varchar(100),
    port         integer CHECK (port BETWEEN 1 AND 65535),
    enabled      boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX service_configs_key
    ON service_configs (service_name, version, environment, coalesce(host, ''));
"""

HEALTH = """
CREATE TABLE service_health (
    id               serial PRIMARY KEY,
    service_name     varchar(50) NOT NULL,
    version          varchar(20),
    status           varchar(20) NOT NULL CHECK (status IN ('healthy', 'degraded', 'down')),
    last_check       timestamptz NOT NULL DEFAULT now(),
    response_time_ms integer CHECK (response_time_ms >= 0),
    metadata         jsonb
);
CREATE INDEX service_health_latest ON service_health (service_name, last_check DESC);
CREATE INDEX service_health_age ON service_health (last_check);
"""

DEPLOYMENTS = """
CREATE SEQUENCE deployment_fencing AS bigint;

CREATE TABLE deployment_history (
    id            serial PRIMARY KEY,
    service_name  varchar(50) NOT NULL,
    version       varchar(20) NOT NULL,
    action        varchar(20) NOT NULL
                  CHECK (action IN ('deploy', 'rollback', 'test', 'promote', 'canary', 'abort')),
    host          varchar(100),
    status        varchar(20) NOT NULL
                  CHECK (status IN ('queued', 'in_progress', 'success', 'failed',
                                    'aborted', 'rolled_back', 'inconclusive')),
    started_at    timestamptz NOT NULL DEFAULT now(),
    completed_at  timestamptz,
    logs          text,
    environment   varchar(20),
    inventory     varchar(50) NOT NULL DEFAULT 'local',
    component     varchar(50) NOT NULL,
    git_commit    varchar(64),
    requested_by  varchar(100),
    evidence      jsonb,
    heartbeat_at  timestamptz,
    fencing_token bigint
);
-- The open row is the lock: two deployments of one component in one inventory cannot be.
CREATE UNIQUE INDEX deployment_history_one_open
    ON deployment_history (service_name, component, inventory) WHERE status = 'in_progress';
CREATE INDEX deployment_history_recent ON deployment_history (started_at DESC, id DESC);
CREATE INDEX deployment_history_component
    ON deployment_history (service_name, component, inventory, started_at DESC);

CREATE TABLE deployment_events (
    id            bigserial PRIMARY KEY,
    deployment_id integer NOT NULL REFERENCES deployment_history (id) ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT now(),
    host          varchar(100),
    event         varchar(40) NOT NULL,
    detail        jsonb
);
CREATE INDEX deployment_events_of ON deployment_events (deployment_id, at);

CREATE TABLE releases (
    id              serial PRIMARY KEY,
    service_name    varchar(50) NOT NULL,
    version         varchar(20) NOT NULL,
    variant         varchar(20) NOT NULL DEFAULT '',
    manifest_sha256 char(64) NOT NULL,
    git_commit      varchar(64),
    dirty           boolean NOT NULL DEFAULT false,
    manifest        jsonb NOT NULL,
    built_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (service_name, version, variant)
);
"""

MODELS = """
CREATE TABLE models (
    id          serial PRIMARY KEY,
    job         varchar(50) NOT NULL,
    version     varchar(20) NOT NULL,
    kind        varchar(20) NOT NULL,
    checkpoint  text NOT NULL,
    sha256_onnx char(64) NOT NULL,
    sha256_pt   char(64),
    schema_hash char(64) NOT NULL,
    manifest    jsonb NOT NULL,
    bootstrap   boolean NOT NULL DEFAULT false,
    trusted     boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job, version),
    UNIQUE (id, job)
);

CREATE TABLE model_aliases (
    job        varchar(50) NOT NULL,
    alias      varchar(20) NOT NULL,
    model_id   integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, alias),
    -- With the job in the key, an alias cannot point to another job's model.
    FOREIGN KEY (model_id, job) REFERENCES models (id, job)
);
CREATE INDEX model_aliases_model ON model_aliases (model_id);

CREATE TABLE experiments (
    id           serial PRIMARY KEY,
    name         varchar(100) NOT NULL UNIQUE,
    kind         varchar(20) NOT NULL,
    status       varchar(20) NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    definition   jsonb NOT NULL DEFAULT '{}',
    evidence     jsonb
);

CREATE TABLE training_runs (
    id           serial PRIMARY KEY,
    job          varchar(50) NOT NULL,
    preset       varchar(20) NOT NULL,
    host         varchar(100) NOT NULL,
    status       varchar(20) NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    progress     real CHECK (progress BETWEEN 0 AND 1),
    metrics      jsonb,
    model_id     integer REFERENCES models (id) ON DELETE SET NULL
);
CREATE INDEX training_runs_recent ON training_runs (job, started_at DESC);
"""

PREDICTIONS = """
CREATE TABLE predictions (
    id              bigint GENERATED ALWAYS AS IDENTITY,
    as_of           timestamptz NOT NULL,
    symbol          varchar(10) NOT NULL,
    job             varchar(50) NOT NULL,
    model_version   varchar(20) NOT NULL,
    service_version varchar(20) NOT NULL,
    horizons        jsonb NOT NULL,
    log_returns     jsonb NOT NULL,
    source          varchar(30) NOT NULL,
    degraded        boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, as_of)
) PARTITION BY RANGE (as_of);
CREATE INDEX predictions_of ON predictions (job, symbol, as_of DESC);
CREATE TABLE predictions_default PARTITION OF predictions DEFAULT;

-- pim-worker calls this as pim_user, who may not create tables: hence SECURITY DEFINER, with a fixed search path.
-- Months are UTC. Rows of the month that already fell into the default partition move to the new one.
CREATE FUNCTION make_prediction_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day timestamptz;
    next_day  timestamptz;
    name      text;
    made      integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'months_ahead is %, and must lie between 0 and 24', months_ahead;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('make_prediction_partitions'));
    FOR ahead IN 0..months_ahead LOOP
        first_day := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
        next_day := (first_day AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        name := 'predictions_' || to_char(first_day AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE predictions INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('WITH moved AS (DELETE FROM predictions_default WHERE as_of >= %L AND as_of < %L RETURNING *)
                        INSERT INTO %I SELECT * FROM moved', first_day, next_day, name);
        EXECUTE format('ALTER TABLE predictions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       name, first_day, next_day);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION make_prediction_partitions(integer) FROM PUBLIC;
SELECT make_prediction_partitions(2);
"""

ACCESS = """
CREATE TABLE api_tokens (
    id           serial PRIMARY KEY,
    name         varchar(100) NOT NULL UNIQUE,
    token_sha256 char(64) NOT NULL UNIQUE CHECK (token_sha256 ~ '^[0-9a-f]{64}$'),
    scopes       text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE audit_log (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  varchar(100) NOT NULL,
    action varchar(50) NOT NULL,
    target varchar(200) NOT NULL,
    detail jsonb
);
CREATE INDEX audit_log_at ON audit_log (at);
"""

# The audit log is append-only by grant: pim_user may add to it and read it, and nothing else.
GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pim_user') THEN
        GRANT USAGE ON SCHEMA public TO pim_user;
        GRANT SELECT, INSERT, UPDATE, DELETE ON
            service_configs, service_health, deployment_history, deployment_events, releases, models, model_aliases,
            experiments, training_runs, predictions, api_tokens TO pim_user;
        GRANT SELECT, INSERT ON audit_log TO pim_user;
        GRANT SELECT ON alembic_version TO pim_user;
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO pim_user;
        GRANT EXECUTE ON FUNCTION make_prediction_partitions(integer) TO pim_user;
    END IF;
END
$$;
"""

REMOVE = """
DROP FUNCTION make_prediction_partitions(integer);
DROP TABLE audit_log, api_tokens, predictions, training_runs, experiments, model_aliases, models, releases,
    deployment_events, deployment_history, service_health, service_configs;
DROP SEQUENCE deployment_fencing;
"""


def upgrade() -> None:
    for part in (CONFIGURATION, HEALTH, DEPLOYMENTS, MODELS, PREDICTIONS, ACCESS, GRANTS):
        run(part)


def downgrade() -> None:
    run(REMOVE)


def run(sql: str) -> None:
    """Several statements in one go, with per cent signs that are no parameters."""
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})
