"""Reading the log: in order, chained, and nothing that is not ours."""

from __future__ import annotations

import pytest

from gateway.domain.event import GENESIS, EntryInvalid
from gateway.hot.log import ChainBroken, Turns, read_entries
from tests.hot.links import linked
from tests.lua.warehouse import Warehouse, wish


async def test_log_reads_in_pages_that_continue(valkey_url: str) -> None:
    """Pages of any size give the same entries; each knows where it ends."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "pages")
        await warehouse.stock("A", 20)
        await warehouse.batch(*[warehouse.reserve(wish("A", 1)) for _ in range(5)])
        await warehouse.hold(wish("A", 1))
        whole = await read_entries(warehouse.shard, 0, GENESIS, 100)
        pieces = []
        seq, digest = 0, GENESIS
        while page := await read_entries(warehouse.shard, seq, digest, 1):
            pieces += page
            seq, digest = page[-1].seq, page[-1].digest

    assert [entry.seq for entry in whole] == [1, 2, 7, 8]
    assert pieces == whole
    assert [len(entry.events) for entry in whole] == [1, 1, 5, 1]


@pytest.mark.parametrize("after", [0, 1])
async def test_log_from_a_foreign_digest_is_refused(valkey_url: str, after: int) -> None:
    """The right number under another history's digest is not continued."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "foreign")
        await warehouse.stock("A", 20)

        with pytest.raises(ChainBroken):
            await read_entries(warehouse.shard, after, "f" * 40, 100)


@pytest.mark.parametrize("missing", ["2-0", "3-0"])
async def test_log_with_a_gap_is_refused(valkey_url: str, missing: str) -> None:
    """An entry that somebody deleted is noticed, wherever it was."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "gap")
        await warehouse.stock("A", 20)
        await warehouse.hold(wish("A", 1))
        await warehouse.hold(wish("A", 1))
        await link.call("XDEL", warehouse.keys.log, missing)

        with pytest.raises(ChainBroken):
            await read_entries(warehouse.shard, 0, GENESIS, 100)


@pytest.mark.parametrize("fields", [("e", "x"), ("e", "x", "d", "y", "z", "z"), ("x", "e", "d", "y"), ("a", "b")])
async def test_log_entry_of_another_shape_is_refused(valkey_url: str, fields: tuple[str, ...]) -> None:
    """What somebody else appended is not ours, and is not skipped."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "shape")
        await link.call("XADD", warehouse.keys.log, "2-0", *fields)

        with pytest.raises((ChainBroken, EntryInvalid)):
            await read_entries(warehouse.shard, 0, GENESIS, 100)


async def test_log_payload_changed_by_hand_is_refused(valkey_url: str) -> None:
    """One changed byte of a payload breaks the chain."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "tamper")
        await warehouse.stock("A", 20)
        ((_, (_, first, _, first_digest)), (_, (_, second, _, digest))) = await link.call(
            "XRANGE", warehouse.keys.log, "-", "+"
        )
        await link.call("DEL", warehouse.keys.log)
        await link.call("XADD", warehouse.keys.log, "1-0", "e", first, "d", first_digest)
        await link.call("XADD", warehouse.keys.log, "2-0", "e", second.replace("20", "21"), "d", digest)

        with pytest.raises(ChainBroken):
            await read_entries(warehouse.shard, 0, GENESIS, 100)


async def test_log_of_no_key_is_empty(valkey_url: str) -> None:
    """Nothing after the last entry, and nothing at all, are both an empty page."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "empty")
        entries = await read_entries(warehouse.shard, 0, GENESIS, 100)

        assert await read_entries(warehouse.shard, entries[-1].seq, entries[-1].digest, 100) == []
        assert await read_entries(warehouse.shard, 0, GENESIS, 100, generation_log="nothing here") == []


def test_turns_are_over_after_a_hundred_events_and_begin_anew() -> None:
    """However they come, one by one or many in an entry: what was too much does not shorten the next turn."""
    turns = Turns()

    assert [turns.is_over(1) for _ in range(200)] == [False] * 99 + [True] + [False] * 99 + [True]
    assert [turns.is_over(events) for events in (60, 60, 60, 39, 1, 5000, 99, 1)] == [
        False,
        True,
        False,
        False,
        True,
        True,
        False,
        True,
    ]
