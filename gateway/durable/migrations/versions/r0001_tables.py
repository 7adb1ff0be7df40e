"""The first tables.

What each is for stands in `gateway/durable/schema.py`. This file does not use that one on purpose: a step describes
the schema of its day, whatever the tables become later.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables of version 0.1 stand, empty."""
    _authority()
    _stock()
    _reservations()
    _history()


def _authority() -> None:
    op.create_table(
        "deployments",
        sa.Column("single", sa.Integer, nullable=False, autoincrement=False),
        _words("id"),
        sa.Column("shards", sa.Integer, nullable=False),
        _words("hash"),
        _words("prefix"),
        sa.PrimaryKeyConstraint("single", name="deployments_pkey"),
        sa.CheckConstraint("single = 1", name="deployments_single"),
        sqlite_with_rowid=False,
        comment="What every gateway on this store agrees on; one row.",
    )
    op.create_table(
        "shards",
        _shard(),
        *_numbers("epoch", "generation"),
        _words("state"),
        _words("owner"),
        *_numbers("owner_deadline_ms", "checkpoint"),
        _words("digest"),
        *_numbers("rebuilt_ms"),
        sa.PrimaryKeyConstraint("shard", name="shards_pkey"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "10"},
        comment="The authority over each shard: who may write, and up to where the history is stored.",
    )
    op.create_table(
        "epoch_history",
        _shard(),
        *_numbers("epoch", "end_seq"),
        sa.PrimaryKeyConstraint("shard", "epoch", name="epoch_history_pkey"),
        sqlite_with_rowid=False,
        comment="Where each ended epoch ended: what it numbered beyond that is lost.",
    )


def _stock() -> None:
    op.create_table(
        "levels",
        _words("shop"),
        _words("sku"),
        _words("location"),
        _number("on_hand", "Units on the shelf, as last told by their source and changed since."),
        _number("held", "Units of open holds, also of those past their deadline but not yet swept."),
        _number("committed", "Units of confirmed reservations that are neither fulfilled nor settled."),
        _number("deducted", "The sum of the sources' deductions."),
        *_numbers("safety_stock", "version"),
        _shard(),
        _number("epoch"),
        _number("seq", "With shard and epoch: the position of the change that made this row."),
        _number("updated_ms"),
        sa.PrimaryKeyConstraint("shop", "sku", "location", name="levels_pkey"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "50"},
        comment="The counters per shop, sku and location, stable for readers beside the gateway."
        " available = on_hand - held - committed - deducted - safety_stock.",
    )
    op.create_index("levels_shard", "levels", ["shard", "shop", "sku", "location"])
    op.create_table(
        "level_sources",
        _words("shop"),
        _words("sku"),
        _words("location"),
        _words("source"),
        *_numbers("sequence", "deduction"),
        _words("digest"),
        sa.PrimaryKeyConstraint("shop", "sku", "location", "source", name="level_sources_pkey"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "70"},
        comment="What each source last told about a level: its fence lives as long as the level.",
    )
    op.create_table(
        "skus",
        _words("shop"),
        _words("sku"),
        sa.Column("paused", sa.Boolean(create_constraint=False), nullable=False),
        _words("reason"),
        *_numbers("epoch", "seq"),
        sa.PrimaryKeyConstraint("shop", "sku", name="skus_pkey"),
        sqlite_with_rowid=False,
        comment="Whether a sku is paused; no row = it never was.",
    )


def _reservations() -> None:
    op.create_table(
        "reservations",
        _words("id", comment="The random part of the public id."),
        _shard(),
        _words("shop"),
        _words("state"),
        _words("reference"),
        _words("customer"),
        _words("sku", nullable=True, comment="The only sku; null when reservation_skus names several."),
        *_numbers("created_epoch", "created_seq", "created_ms", "deadline_ms"),
        sa.Column("ended_ms", sa.BigInteger, nullable=True, autoincrement=False),
        *_numbers("epoch", "seq"),
        _words("packed", comment="The whole reservation; the other columns are there to search by."),
        sa.PrimaryKeyConstraint("id", name="reservations_pkey"),
        postgresql_with={"fillfactor": "90"},
        comment="Every reservation after its newest change.",
    )
    newest_first = ["shop", "created_ms", "id"]
    _index("reservations_reference", "reservations", ["reference", *newest_first], "reference <> ''")
    _index("reservations_customer", "reservations", ["customer", *newest_first], "customer <> ''")
    _index("reservations_sku", "reservations", ["sku", *newest_first], "sku IS NOT NULL")
    op.create_index("reservations_state", "reservations", ["shop", "state", "created_ms", "id"])
    _index("reservations_live", "reservations", ["shard", "created_seq", "id"], "state IN ('held', 'confirmed')")
    op.create_table(
        "reservation_skus",
        _words("shop"),
        _words("sku"),
        _number("created_ms"),
        _words("id"),
        sa.PrimaryKeyConstraint("shop", "sku", "created_ms", "id", name="reservation_skus_pkey"),
        sqlite_with_rowid=False,
        comment="The skus of reservations that have several.",
    )


def _history() -> None:
    op.create_table(
        "events",
        _shard(),
        *_numbers("seq", "epoch"),
        _number("entry_seq", "The last seq of the log entry that brought this event."),
        _words("type"),
        _number("at_ms"),
        _words("shop"),
        _words("reservation", nullable=True),
        _words("payload"),
        _words("digest", comment="The chain value of the entry, over all entries before it."),
        sa.PrimaryKeyConstraint("shard", "seq", name="events_pkey"),
        sqlite_with_rowid=False,
        comment="The history: append-only, no gap, no double.",
    )
    _index("events_reservation", "events", ["reservation", "seq"], "reservation IS NOT NULL")
    op.create_table(
        "requests",
        _words("record", comment="hash(shop, operation, key)."),
        _shard(),
        _words("operation"),
        _words("fingerprint"),
        _words("target"),
        *_numbers("epoch", "seq", "at_ms"),
        sa.PrimaryKeyConstraint("record", name="requests_pkey"),
        comment="Idempotency: which key did what.",
    )


def _words(name: str, *, nullable: bool = False, comment: str | None = None) -> sa.Column[Any]:
    """Text that both dialects compare by code point."""
    kind = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=nullable, comment=comment)


def _number(name: str, comment: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False, comment=comment)


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [_number(name) for name in names]


def _shard() -> sa.Column[Any]:
    return sa.Column("shard", sa.Integer, nullable=False, autoincrement=False)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    """An index over the rows that meet a condition."""
    condition = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
