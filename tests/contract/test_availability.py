"""A store that does not answer, or no longer, says so in the ledger's words."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from gateway.durable.ledger import Ledger, LedgerUnavailable
from gateway.durable.stores import ledger_for
from tests.contract.batches import Hold, Log, opened, stored


async def test_ping_and_advice_of_a_sound_store(ledger: Ledger) -> None:
    """The store answers; its advice is whole sentences about settings, here about fsync at most."""
    await ledger.ping()

    assert all("fsync" in told or "full_page_writes" in told for told in await ledger.advice())


async def test_closed_ledger_is_unavailable(ledger: Ledger) -> None:
    """After `close`, which may be repeated, every question is answered with LedgerUnavailable."""
    log = await opened(ledger)
    await ledger.close()
    await ledger.close()

    with pytest.raises(LedgerUnavailable):
        await ledger.append(log.next())
    with pytest.raises(LedgerUnavailable):
        await ledger.ping()
    with pytest.raises(LedgerUnavailable):
        await ledger.read_shard(0)


async def test_reopened_ledger_works_again(ledger: Ledger) -> None:
    """Open, close and open again: the same object serves, opening twice is opening once."""
    log = await opened(ledger)
    await ledger.close()

    await ledger.open()
    await ledger.open()

    await stored(ledger, log)


async def test_open_without_a_store_is_unavailable(database_url: str) -> None:
    """A server that is not there, or a folder that is not, is told with its address and without a password."""
    missing = (
        "sqlite:////nowhere/at/all/gateway.db"
        if database_url.startswith("sqlite")
        else "postgresql://postgres:s3cret@127.0.0.1:1/gateway"
    )
    ledger = ledger_for(missing, pool_size=1, pool_timeout_ms=500, statement_timeout_ms=500)

    with pytest.raises(LedgerUnavailable) as told:
        await ledger.open()

    assert "s3cret" not in str(told.value)
    await ledger.close()


async def test_more_readers_than_connections_wait_and_then_give_up(ledger: Ledger, database_url: str) -> None:
    """With every connection lent out, the next one hears so within the pool's timeout; later it is served."""
    await stored(ledger, await opened(ledger), *(Hold(created_seq=seq, seq=seq) for seq in range(1, 4)))
    small = ledger_for(database_url, pool_size=1, pool_timeout_ms=60_000, statement_timeout_ms=60_000)
    await small.open()
    database = small._database  # type: ignore[attr-defined]

    async with aclosing(small.open_holds(0, 1)) as pages:
        await anext(pages)
        database._pool_timeout_ms = 100
        with pytest.raises(LedgerUnavailable, match="was free within 100 ms"):
            await small.ping()
        database._pool_timeout_ms = 60_000
    await small.ping()

    await small.close()


async def test_two_ledgers_see_each_others_commits(ledger: Ledger, database_url: str) -> None:
    """What one gateway stored, another reads at once, on connections that were open before."""
    other = ledger_for(database_url, pool_size=2, pool_timeout_ms=5_000, statement_timeout_ms=5_000)
    await other.open()
    log: Log = await opened(ledger)

    for _ in range(5):
        log = await stored(ledger, log)
        assert log.at(await other.read_shard(0))

    await other.close()
