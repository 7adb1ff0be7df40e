"""Each shard keeps the running totals of its levels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The totals are those of the levels as they are: what a gateway of this version opens next goes on from there."""
    for name in ("held", "on_hand", "committed", "deducted"):
        op.add_column(
            "shards",
            sa.Column(
                name,
                sa.BigInteger,
                nullable=False,
                server_default=sa.text("0"),
                comment="Running total over the levels of the shard, at its checkpoint.",
            ),
        )
    sums = ", ".join(
        f"{name} = (SELECT coalesce(sum(levels.{name}), 0) FROM levels WHERE levels.shard = shards.shard)"
        for name in ("held", "on_hand", "committed", "deducted")
    )
    op.execute(f"UPDATE shards SET {sums}")
