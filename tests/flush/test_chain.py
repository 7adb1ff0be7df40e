"""A log that is not the history it should be: the flusher stores nothing of it, skips nothing, and the shard closes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.domain.event import EntryInvalid, chain
from gateway.hot.log import ChainBroken
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

Entries = list[tuple[str, list[str]]]


async def rewrite_log(gateway: Gateway, change: Callable[[Entries], Entries]) -> None:
    """The log holds what `change` makes of its entries."""
    log, entries = gateway.shard.keys.log, await gateway.log_entries()
    await gateway.redis("DEL", log)
    for id, fields in change(entries):
        await gateway.redis("XADD", log, id, *fields)


async def with_history(gateway: Gateway) -> None:
    """Two committed entries, the second the anchor, and four that are not committed: seqs 3 to 6."""
    await gateway.put("tee", 10)
    await gateway.flush()
    for sequence in range(2, 6):
        await gateway.put("tee", 10 + sequence, sequence=sequence)


def without_the_fourth(entries: Entries) -> Entries:
    """A gap."""
    return [entry for entry in entries if entry[0] != "4-0"]


def without_the_third(entries: Entries) -> Entries:
    """A gap right after the anchor."""
    return [entry for entry in entries if entry[0] != "3-0"]


def other_payload(entries: Entries) -> Entries:
    """A letter changed under its digest."""
    return [(id, [f[0], f[1].replace("key:test", "key:tesd"), *f[2:]] if id == "4-0" else f) for id, f in entries]


def other_digest(entries: Entries) -> Entries:
    """A digest that is nobody's."""
    return [(id, [*f[:3], "0" * 40] if id == "4-0" else f) for id, f in entries]


def other_history(entries: Entries) -> Entries:
    """From seq 4 on the history of another server, which used the same numbers and chained them well."""
    digest, changed = "f" * 40, entries[:2]
    for id, fields in entries[2:]:
        digest = chain(digest, fields[1])
        changed.append((id, ["e", fields[1], "d", digest]))
    return changed


def numbered_twice(entries: Entries) -> Entries:
    """The fourth entry holds the third's events once more; it and all after it are chained well."""
    digest, payload = entries[1][1][3], entries[1][1][1]
    changed = entries[:2]
    for id, fields in [("4-0", ["e", payload]), *entries[3:]]:
        digest = chain(digest, fields[1])
        changed.append((id, ["e", fields[1], "d", digest]))
    return changed


def other_fields(entries: Entries) -> Entries:
    """An entry with a field that is none of ours."""
    return [(id, ["x", "1"] if id == "4-0" else f) for id, f in entries]


@pytest.mark.parametrize(
    "damage",
    [
        without_the_third,
        without_the_fourth,
        other_payload,
        other_digest,
        other_history,
        numbered_twice,
        other_fields,
    ],
)
async def test_chain_broken_closes_the_shard_and_stores_nothing(
    idle: Gateway, damage: Callable[[Entries], Entries]
) -> None:
    """Whatever is wrong with the log: not one event of the turn is stored, the shard is closed, and the log stays as it is."""
    await with_history(idle)
    await rewrite_log(idle, damage)
    before = await idle.log_entries()
    with pytest.raises(ChainBroken):
        await idle.turn()
    assert not idle.shard.is_open
    assert await idle.turn() == 0
    assert (await idle.ledger.read_shard(0)).checkpoint == 2
    assert len(await idle.ledger.read_events(0, 0, 10)) == 2
    assert await idle.log_entries() == before


@pytest.mark.parametrize(("damage", "kept"), [(without_the_third, 10), (without_the_fourth, 12), (other_history, 12)])
async def test_chain_broken_is_recovered_up_to_the_break(
    each_database: Stores, damage: Callable[[Entries], Entries], kept: int
) -> None:
    """The opening keeps what the chain still proves, and nothing behind the break: the books add up and go on."""
    async with running(each_database, is_flushing=False) as gateway:
        await with_history(gateway)
        await rewrite_log(gateway, damage)
        with pytest.raises(ChainBroken):
            await gateway.turn()
        await gateway.keep()
        assert (await gateway.level("tee")).on_hand == kept
        await gateway.put("tee", 30, sequence=9)
        await gateway.flush()
        assert await gateway.violations() == []
        told = [event.type for event in await gateway.ledger.read_events(0, 0, 10)]
        of_tail = ["stock.counted"] * (2 if kept == 12 else 1)
        assert told == ["shard.opened", *of_tail, "shard.opened", "stock.counted"]


async def test_chain_with_a_deleted_entry_is_a_gap(idle: Gateway) -> None:
    """XDEL in the middle of what is not committed is noticed."""
    await with_history(idle)
    assert await idle.redis("XDEL", idle.shard.keys.log, "5-0") == 1
    with pytest.raises(ChainBroken):
        await idle.turn()
    assert not idle.shard.is_open


@pytest.mark.parametrize("line", ["", "\nZ\tnew kind of fact"])
async def test_chain_with_an_entry_of_another_version_stops(idle: Gateway, line: str) -> None:
    """An entry well chained that this version can not read is never skipped: the turn fails each time, the log stays."""
    await with_history(idle)
    meta, log = idle.shard.keys.meta, idle.shard.keys.log
    digest = await idle.redis("HGET", meta, "digest")
    type = "stock.counted" if line else "stock.teleported"
    payload = f"E\t7\t1\t{type}\t{await idle.clock_ms()}\tmain\tkey:test\t\t\t{line}"
    link = chain(digest, payload)
    await idle.redis("XADD", log, "7-0", "e", payload, "d", link)
    await idle.redis("HSET", meta, "seq", 7, "digest", link)
    before = await idle.log_entries()
    for _ in range(2):
        with pytest.raises(EntryInvalid):
            await idle.turn()
    assert await idle.log_entries() == before
    assert (await idle.ledger.read_shard(0)).checkpoint == 2
    await idle.redis("XDEL", log, "7-0")  # so that the end of the test can drain
    await idle.redis("HSET", meta, "seq", 6, "digest", digest)
