"""A shard that halted says why, and rebuilds are counted for all gateways together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No shard is halted that was not, and no rebuild counts that came before."""
    words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.add_column(
        "shards",
        sa.Column(
            "halted_reason",
            words,
            nullable=True,
            comment="Why the shard waits for the operator; null when it does not.",
        ),
    )
    # Until now somebody could only have set the state by hand.
    op.execute("UPDATE shards SET halted_reason = 'set by hand' WHERE state = 'halted'")
    op.create_table(
        "rebuilds",
        sa.Column("shard", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False, autoincrement=False, comment="By the store's clock."),
        sa.PrimaryKeyConstraint("shard", "epoch", name="rebuilds_pkey"),
        sqlite_with_rowid=False,
        comment="The rebuilds since the last repair, of all gateways: too many in a short time halt the shard.",
    )
