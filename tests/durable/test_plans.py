"""Every question has its index, in both dialects."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from itertools import product

import asyncpg
import pytest

from gateway.durable import history, postgres_append, reservations, shards, stock, totals
from gateway.durable.ledger import Ledger
from gateway.durable.reservations import _search_statement
from gateway.durable.statement import DialectName, Statement, among
from tests.contract.batches import level_row, opened, stored

GIVEN = {
    "of_shop": "main",
    "of_reference": "cart-1",
    "of_customer": "kim",
    "of_sku": "tee",
    "of_shard": 0,
    "of_record": "r",
    "random_part": "x",
    "now_ms": 1,
    "of_reservation": "x",
    "before_epoch": 2,
    "before_seq": 1,
    "before_ms": 1,
    "before_id": "",
    "after": "",
    "after_seq": 0,
    "after_state": "",
    "after_created_ms": 0,
    "after_id": "",
    "after_shop": "",
    "after_sku": "",
    "after_location": "",
    "page": 10,
}

QUESTIONS: dict[str, tuple[Statement, set[str]]] = {
    "one reservation": (reservations._READ, {"reservations_pkey"}),
    "reservations in pages": (reservations._STORED_PAGE, {"reservations_pkey"}),
    "live reservations": (reservations._LIVE_PAGE, {"reservations_live"}),
    "open holds": (reservations._HELD_PAGE, {"reservations_live"}),
    "a live reservation of before": (reservations._LIVE_BEFORE, {"reservations_live"}),
    "by reference": (_search_statement(True, False, False, None, True), {"reservations_reference"}),
    "by customer": (_search_statement(False, True, False, "held", True), {"reservations_customer"}),
    "by sku": (
        _search_statement(False, False, True, None, True),
        {"reservations_sku", "reservation_skus_pkey", "reservations_pkey"},
    ),
    "by state": (_search_statement(False, False, False, "expired", True), {"reservations_live", "reservations_ended"}),
    "by ended state": (_search_statement(False, False, False, "released", True), {"reservations_ended"}),
    "all": (_search_statement(False, False, False, None, False), {"reservations_live", "reservations_ended"}),
    "skus": (stock._SKUS, {"levels_pkey", "level_sources_pkey", "skus_pkey"}),
    "catalogue": (stock._NAMES, {"levels_pkey"}),
    "skus with holds": (stock._WITH_HOLDS, {"levels_shard"}),
    "levels of a shard": (stock._LEVELS, {"levels_shard"}),
    "reservations by name": (reservations._STORED_AMONG, {"reservations_pkey"}),
    "events": (history._EVENTS, {"events_pkey"}),
    "events at": (history._EVENTS_AT, {"events_pkey"}),
    "the change before": (history._CHANGE_BEFORE, {"events_reservation"}),
    "a request": (history._REQUEST, {"requests_pkey"}),
    "a shard": (shards._READ, {"shards_pkey"}),
}


#: Nothing tells the one that is wanted from the others before it is looked at.
SCANNED = {"a live reservation of before": "SCAN reservations USING INDEX reservations_live"}

#: Pages of very many rows: to sort what is left for each of them would take the square of the time.
IN_ORDER = {"live reservations", "open holds", "reservations in pages", "levels of a shard", "events"}


def bound(statement: Statement, dialect: DialectName) -> tuple[str, list[object]]:
    """The statement as the driver gets it."""
    lists = {"names": ["tee", "mug"], "random_parts": ["x", "y"]}
    listed = {name: among(dialect, values) for name, values in lists.items()}
    return statement.bound(dialect, {**GIVEN, **listed, "seqs": among(dialect, [1, 2])})


def literal(value: object) -> str:
    """A value as PostgreSQL reads it in a statement."""
    if isinstance(value, list):
        return f"ARRAY[{', '.join(literal(one) for one in value)}]"
    return str(value) if isinstance(value, int) else f"'{value}'"


@pytest.mark.parametrize("question", QUESTIONS)
async def test_postgres_answers_from_the_index(postgres_ledger: Ledger, postgres_url: str, question: str) -> None:
    """A prepared statement that must not know its values reads exactly the indexes meant for it, and no table whole."""
    statement, indexes = QUESTIONS[question]
    sql, values = bound(statement, "postgresql")
    connection = await asyncpg.connect(postgres_url)
    await postgres_ledger.ping()
    try:
        # The tables are empty, where a scan would be cheapest; what matters is which indexes can serve at all.
        for setting in ("enable_seqscan = off", "enable_bitmapscan = off", "plan_cache_mode = force_generic_plan"):
            await connection.execute(f"SET {setting}")
        await connection.execute(f"PREPARE question AS {sql}")
        explain = f"EXPLAIN EXECUTE question ({', '.join(literal(value) for value in values)})"
        plan = "\n".join(row[0] for row in await connection.fetch(explain))
    finally:
        await connection.close()

    used = {index for index in all_indexes() if f"using {index} " in plan}
    assert used == indexes, plan
    assert "Seq Scan" not in plan
    if question in IN_ORDER:
        assert "Sort" not in plan, plan


@pytest.mark.parametrize("question", QUESTIONS)
async def test_sqlite_answers_from_the_index(sqlite_ledger: Ledger, sqlite_url: str, question: str) -> None:
    """SQLite searches the same indexes, or the table itself where it is sorted by the key."""
    statement, indexes = QUESTIONS[question]
    sql, values = bound(statement, "sqlite")
    await sqlite_ledger.ping()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    plan = "\n".join(steps)
    named = {index for index in all_indexes() if re.search(rf"INDEX {index}( |$)", plan)}
    assert named == {index for index in indexes if not index.endswith("_pkey")}, plan
    if question in IN_ORDER:
        assert "TEMP B-TREE" not in plan, plan
    scans = [
        step for step in steps if step.startswith("SCAN") and not is_derived(step) and step != SCANNED.get(question)
    ]
    assert scans == [], plan


async def test_postgres_finds_each_level_that_an_append_overwrites_by_its_key(
    postgres_ledger: Ledger, postgres_url: str
) -> None:
    """With what the append sets for itself, the plan that is kept reads no table whole, also one that was small when it was made."""
    await stored(postgres_ledger, await opened(postgres_ledger), level_row("tee"))
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("ANALYZE levels")
            await connection.execute(postgres_append._PLANS)
            await connection.execute(f"PREPARE levels_upsert AS {postgres_append._levels_text()}")
            values = ", ".join(["NULL"] * 13 + ["0"])
            explained = await connection.fetch(f"EXPLAIN EXECUTE levels_upsert ({values})")
            plan = "\n".join(row[0] for row in explained)
    finally:
        await connection.close()

    whole = r"\(shop = given.shop\) AND \(sku = given.sku\) AND \(location = given.location\)"
    by_key = rf"Index Scan using levels_pkey on levels level .*\n *Index Cond: \({whole}\)"
    by_shard = rf"Index Scan using levels_shard on levels level .*\n *Index Cond: \(\(shard = \$14\) AND {whole}\)"
    assert re.search(f"{by_key}|{by_shard}", plan), plan
    assert "Seq Scan" not in plan
    assert "Hash" not in plan
    assert "Merge" not in plan


async def test_sqlite_finds_each_level_that_an_append_overwrites_by_its_key(
    sqlite_ledger: Ledger, sqlite_url: str
) -> None:
    """One search of the table per level."""
    await sqlite_ledger.ping()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        question = f"EXPLAIN QUERY PLAN {totals.SQLITE_BEFORE}"
        steps = [row[3] for row in connection.execute(question, ['[["main", "tee", "main"]]'])]

    assert [step for step in steps if "(shop=? AND sku=? AND location=?)" in step], steps
    assert [step for step in steps if step.startswith("SCAN") and not is_derived(step) and "given" not in step] == []


def is_derived(step: str) -> bool:
    """A scan of what the statement itself made: the list of names, or a union's arm, which ends at its limit."""
    return any(word in step for word in ("json_each", "anon_", "found", "SUBQUERY", "CONSTANT"))


def all_indexes() -> set[str]:
    """Every index of the schema, primary keys included."""
    from gateway.durable.schema import metadata

    keys = {str(table.primary_key.name) for table in metadata.tables.values()}
    return keys | {str(index.name) for table in metadata.tables.values() for index in table.indexes}


def test_every_index_serves_a_question() -> None:
    """No index is kept that no question uses."""
    used = {index for _, indexes in QUESTIONS.values() for index in indexes}
    unread = {"deployments_pkey", "epoch_history_pkey", "rebuilds_pkey"}

    assert all_indexes() - used == unread


def test_every_combination_of_filters_has_a_statement_in_both_dialects() -> None:
    """Each search compiles, and asks for nothing that a query does not give."""
    for combination in product((True, False), (True, False), (True, False), (None, "held", "expired"), (True, False)):
        for dialect in ("postgresql", "sqlite"):
            bound(_search_statement(*combination), dialect)


async def test_sqlite_finds_each_sku_by_its_name(sqlite_ledger: Ledger, sqlite_url: str) -> None:
    """Skus are searched by shop and name together: by the shop alone each load would read its whole catalogue."""
    sql, values = bound(stock._SKUS, "sqlite")
    await sqlite_ledger.ping()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    searches = [step for step in steps if step.startswith("SEARCH")]
    assert len(searches) == 3
    assert all("(shop=? AND sku=?)" in step for step in searches), steps
