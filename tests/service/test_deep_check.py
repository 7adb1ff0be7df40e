"""`gateway check --deep` on real stores: asked of nobody, it reads the durable store alone and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli.playing import command
from tests.contract.sql import rows_stored, run_sql
from tests.service.gateway import running
from tests.service.stores import Stores

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


async def deep(url: str, **settings: str) -> tuple[int, str, str]:
    """The command beside no gateway: port 0 can be nobody's address."""
    return await command(
        "check", "--deep", environ={**CLEAN, "GATEWAY_DATABASE_URL": url, "GATEWAY_PORT": "0", **settings}
    )


async def test_deep_check_without_a_gateway_reads_the_durable_store(each_database: Stores) -> None:
    """Clean books are 0, damage is 1 and named, and it says that Redis was not looked at; nothing in the store has changed."""
    url = each_database.database_url
    async with running(each_database) as gateway:
        await gateway.put("tee", 10)
        await gateway.reserve(("tee", 2))
        sold = await gateway.confirm(await gateway.reserve(("tee", 3)))
        await gateway.flush()
        row = await gateway.ledger.read_shard(0)
    before = await rows_stored(url)

    clean = await deep(url)
    await run_sql(url, "UPDATE levels SET on_hand = 11")
    await run_sql(url, f"UPDATE reservations SET state = 'released' WHERE id = '{sold.reservation.id.random_part}'")
    damaged = await deep(url)

    assert clean[0] == 0, clean
    assert (
        f"not checked: Redis with its levels, holds and deadlines, and what its log has after seq {row.checkpoint}"
        in clean[1]
    )
    assert f"checked: levels 1, events {row.checkpoint}, reservations 2" in clean[1]
    assert "verdict: 0 violations" in clean[1]
    assert damaged[0] == 1, damaged
    assert (
        "violation: invariant 6, level, main/tee/main: the level is (11, 2, 3, 0, 0), the log gives (10, 2, 3, 0, 0)"
        in damaged[1]
    )
    assert "violation: invariant 1, committed, main/tee/main: the level counts 3, its reservations 0" in damaged[1]
    assert f"violation: invariant 8, row, {sold.reservation.id}: its columns say released" in damaged[1]
    assert (
        "violation: invariant 1, totals, durable on_hand: the shard's row counts 10, its levels add up to 11"
        in damaged[1]
    )
    assert "verdict: 4 violations" in damaged[1]
    assert await rows_stored(url) == before


async def test_deep_check_beside_a_gateway_that_works_finds_nothing(each_database: Stores) -> None:
    """Reading the store while its gateway writes to it disturbs neither."""
    async with running(each_database) as gateway:
        await gateway.put("tee", 10)
        await gateway.reserve(("tee", 2))
        status, out, err = await deep(each_database.database_url)
        await gateway.reserve(("tee", 2), ack="durable")

    assert (status, err) == (0, ""), out
    assert "verdict: 0 violations" in out


async def test_deep_check_that_can_tell_nothing_ends_with_2(tmp_path: Path) -> None:
    """No store, a file that is none, a store without tables, settings that are wrong: told in a line, nothing is made."""
    nothing = await deep("", GATEWAY_DATA_DIR=str(tmp_path / "data"))
    path = tmp_path / "other.db"
    write(path, b"no database " * 100)
    foreign = await deep(f"sqlite:///{path}")
    write(path, b"")
    empty = await deep(f"sqlite:///{path}")
    wrong = await deep("", GATEWAY_PROT="1")

    assert [found[0] for found in (nothing, foreign, empty, wrong)] == [2] * 4
    assert "cannot be opened" in nothing[2]
    assert "not checked: " in foreign[2]
    assert "schema" in empty[2]
    assert "GATEWAY_PROT" in wrong[2]
    assert not exists(tmp_path / "data")


def write(path: Path, content: bytes) -> None:
    """The file has this content."""
    path.write_bytes(content)


def exists(path: Path) -> bool:
    """There is something there."""
    return path.exists()
