"""The tables of the durable store: one description, from which both dialects' queries are written.

Only migrations make tables (gateway/durable/migrations); a test holds that their sum is what stands here. Text is
compared by code point in both dialects, so that pages come in the same order: SQLite does that by itself,
PostgreSQL is told to (collation C). There are no foreign keys: the gate admits rows in order and whole, and a
check per row would cost what the gate already proves.

An index costs every write, so each one names the question it answers. None covers a counter, a deadline or a
position: with a free place on the page PostgreSQL then updates levels and shards without touching any index.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

metadata: Final = MetaData()

Words: Final[TypeEngine[str]] = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

#: Reservations that hold units, and those that do not any more. Written out in queries too, or the planner cannot
#: match the partial index.
LIVE: Final = "state IN ('held', 'confirmed')"
ENDED: Final = "state NOT IN ('held', 'confirmed')"


def _words(name: str, *, nullable: bool = False, comment: str | None = None) -> Column[Any]:
    return Column(name, Words, nullable=nullable, comment=comment)


def _number(name: str, *, nullable: bool = False, comment: str | None = None) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable, autoincrement=False, comment=comment)


def _total(name: str) -> Column[Any]:
    comment = "Running total over the levels of the shard, at its checkpoint."
    return Column(name, BigInteger, nullable=False, autoincrement=False, server_default=text("0"), comment=comment)


def _shard() -> Column[Any]:
    return Column("shard", Integer, nullable=False, autoincrement=False)


def _index(name: str, *columns: str, where: str | None = None) -> Index:
    condition = None if where is None else text(where)
    return Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


deployments: Final = Table(
    "deployments",
    metadata,
    Column("single", Integer, nullable=False, autoincrement=False),
    _words("id"),
    Column("shards", Integer, nullable=False),
    _words("hash"),
    _words("prefix"),
    PrimaryKeyConstraint("single", name="deployments_pkey"),
    CheckConstraint("single = 1", name="deployments_single"),
    sqlite_with_rowid=False,
    comment="What every gateway on this store agrees on; one row.",
)

shards: Final = Table(
    "shards",
    metadata,
    _shard(),
    _number("epoch"),
    _number("generation"),
    _words("state"),
    _words("owner"),
    _number("owner_deadline_ms"),
    _number("checkpoint"),
    _words("digest"),
    _number("rebuilt_ms"),
    _words("halted_reason", nullable=True, comment="Why the shard waits for the operator; null when it does not."),
    _total("held"),
    _total("on_hand"),
    _total("committed"),
    _total("deducted"),
    PrimaryKeyConstraint("shard", name="shards_pkey"),
    sqlite_with_rowid=False,
    # The row changes with every flush: nearly the whole page is left for its next versions.
    postgresql_with={"fillfactor": "10"},
    comment="The authority over each shard: who may write, and up to where the history is stored.",
)

epoch_history: Final = Table(
    "epoch_history",
    metadata,
    _shard(),
    _number("epoch"),
    _number("end_seq"),
    PrimaryKeyConstraint("shard", "epoch", name="epoch_history_pkey"),
    sqlite_with_rowid=False,
    comment="Where each ended epoch ended: what it numbered beyond that is lost.",
)

rebuilds: Final = Table(
    "rebuilds",
    metadata,
    _shard(),
    _number("epoch"),
    _number("at_ms", comment="By the store's clock."),
    PrimaryKeyConstraint("shard", "epoch", name="rebuilds_pkey"),
    sqlite_with_rowid=False,
    comment="The rebuilds since the last repair, of all gateways: too many in a short time halt the shard.",
)

levels: Final = Table(
    "levels",
    metadata,
    _words("shop"),
    _words("sku"),
    _words("location"),
    _number("on_hand", comment="Units on the shelf, as last told by their source and changed since."),
    _number("held", comment="Units of open holds, also of those past their deadline but not yet swept."),
    _number("committed", comment="Units of confirmed reservations that are neither fulfilled nor settled."),
    _number("deducted", comment="The sum of the sources' deductions."),
    _number("safety_stock"),
    _number("version"),
    _shard(),
    _number("epoch"),
    _number("seq", comment="With shard and epoch: the position of the change that made this row."),
    _number("updated_ms"),
    PrimaryKeyConstraint("shop", "sku", "location", name="levels_pkey"),
    # The levels of one shard by name: rebuild and conservation check.
    _index("levels_shard", "shard", "shop", "sku", "location"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "50"},
    comment="The counters per shop, sku and location, stable for readers beside the gateway."
    " available = on_hand - held - committed - deducted - safety_stock.",
)

level_sources: Final = Table(
    "level_sources",
    metadata,
    _words("shop"),
    _words("sku"),
    _words("location"),
    _words("source"),
    _number("sequence"),
    _number("deduction"),
    _words("digest"),
    PrimaryKeyConstraint("shop", "sku", "location", "source", name="level_sources_pkey"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "70"},
    comment="What each source last told about a level: its fence lives as long as the level.",
)

skus: Final = Table(
    "skus",
    metadata,
    _words("shop"),
    _words("sku"),
    Column("paused", Boolean(create_constraint=False), nullable=False),
    _words("reason"),
    _number("epoch"),
    _number("seq"),
    PrimaryKeyConstraint("shop", "sku", name="skus_pkey"),
    sqlite_with_rowid=False,
    comment="Whether a sku is paused; no row = it never was.",
)

reservations: Final = Table(
    "reservations",
    metadata,
    _words("id", comment="The random part of the public id."),
    _shard(),
    _words("shop"),
    _words("state"),
    _words("reference"),
    _words("customer"),
    _words("sku", nullable=True, comment="The only sku; null when reservation_skus names several."),
    _number("created_epoch"),
    _number("created_seq"),
    _number("created_ms"),
    _number("deadline_ms"),
    _number("ended_ms", nullable=True),
    _number("epoch"),
    _number("seq"),
    _words("packed", comment="The whole reservation; the other columns are there to search by."),
    PrimaryKeyConstraint("id", name="reservations_pkey"),
    # Searches, newest first. The column that tells most apart comes before the shop: a comparison in the tree
    # then ends at its first column (PostgreSQL 18: a tenth off the cost of an append).
    _index("reservations_reference", "reference", "shop", "created_ms", "id", where="reference <> ''"),
    _index("reservations_customer", "customer", "shop", "created_ms", "id", where="customer <> ''"),
    _index("reservations_sku", "sku", "shop", "created_ms", "id", where="sku IS NOT NULL"),
    # By state and, in five arms, all. The first is also what a rebuild loads and the conservation check adds up. They
    # are two because most writes are new holds, and those touch the small one alone.
    _index("reservations_live", "shop", "state", "created_ms", "id", where=LIVE),
    _index("reservations_ended", "shop", "state", "created_ms", "id", where=ENDED),
    postgresql_with={"fillfactor": "90"},
    comment="Every reservation after its newest change.",
)

reservation_skus: Final = Table(
    "reservation_skus",
    metadata,
    _words("shop"),
    _words("sku"),
    _number("created_ms"),
    _words("id"),
    # In the order in which a search wants them: without created_ms all reservations of a hot sku would have
    # to be sorted for one page.
    PrimaryKeyConstraint("shop", "sku", "created_ms", "id", name="reservation_skus_pkey"),
    sqlite_with_rowid=False,
    comment="The skus of reservations that have several.",
)

events: Final = Table(
    "events",
    metadata,
    _shard(),
    _number("seq"),
    _number("epoch"),
    _number("entry_seq", comment="The last seq of the log entry that brought this event."),
    _words("type"),
    _number("at_ms"),
    _words("shop"),
    _words("reservation", nullable=True),
    _words("payload"),
    _words("digest", comment="The chain value of the entry, over all entries before it."),
    PrimaryKeyConstraint("shard", "seq", name="events_pkey"),
    # The audit trail of one reservation. Its first event stands at the position in its id, so most events need no
    # entry here.
    _index("events_reservation", "reservation", "seq", where="reservation IS NOT NULL AND type <> 'stock.reserved'"),
    sqlite_with_rowid=False,
    comment="The history: append-only, no gap, no double.",
)

requests: Final = Table(
    "requests",
    metadata,
    _words("record", comment="hash(shop, operation, key)."),
    _shard(),
    _words("operation"),
    _words("fingerprint"),
    _words("target"),
    _number("epoch"),
    _number("seq"),
    _number("at_ms"),
    PrimaryKeyConstraint("record", name="requests_pkey"),
    comment="Idempotency: which key did what.",
)
