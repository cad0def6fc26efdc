"""The lease of an open deployment: how long it lives after its controller's last heartbeat.

Code from before it inserts rows without a lease and gets the default. The reaper's queries need no index of their own:
`deployment_history_one_open` holds the few open rows alone. An index with `heartbeat_at` or `lease_seconds` in it would
cost more than it saves, since every heartbeat had to write it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE deployment_history"
        " ADD COLUMN lease_seconds integer NOT NULL DEFAULT 30 CHECK (lease_seconds >= 0)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE deployment_history DROP COLUMN lease_seconds")
