"""extend: the deadline of a live hold moves, within its tier's bounds, and the due index with it."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.event import EXTENDED
from tests.lua.warehouse import POLICY, START_MS, Warehouse, told, wish


async def test_extend_counts_from_now(warehouse: Warehouse) -> None:
    """EXTENDED: the new deadline is now plus the TTL, not the old deadline plus it; one event, no level changes."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=10_000)
    version = (await warehouse.level("A")).version
    await warehouse.advance(4000)

    answer = await warehouse.run(warehouse.extend(r, ttl_seconds=60))

    after = told(answer)
    event = (await warehouse.remember())[-1]
    assert (answer.status, after.deadline_ms, after.state) == ("EXTENDED", START_MS + 64_000, "held")
    assert (event.type, after.seq, after.id, after.created_ms) == (EXTENDED, event.seq, r.id, r.created_ms)
    assert (await warehouse.level("A")).version == version


async def test_extend_without_ttl_takes_the_tiers(warehouse: Warehouse) -> None:
    """Without ttl_seconds the tier's own counts: of the hold's tier, or of the one it moves to."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=10_000)

    same = told(await warehouse.run(warehouse.extend(r)))
    other = told(await warehouse.run(warehouse.extend(r, tier="checkout")))

    assert (same.tier, same.deadline_ms) == ("cart", START_MS + 300_000)
    assert (other.tier, other.deadline_ms) == ("checkout", START_MS + 900_000)


async def test_extend_may_shorten_and_the_units_come_back_then(warehouse: Warehouse) -> None:
    """A shorter deadline is one: the index follows, and the units are free at the new deadline."""
    await warehouse.stock("A", 5)
    first = await warehouse.hold(wish("A", 2), ttl_ms=300_000)
    await warehouse.hold(wish("A", 1), ttl_ms=60_000)
    await warehouse.run(warehouse.extend(first, ttl_seconds=1))

    index = await warehouse.content(warehouse.keys.due)
    await warehouse.advance(1000)
    swept = await warehouse.run(warehouse.expire())

    assert index == {"main/A": START_MS + 1000}
    assert swept.fields == ["1", "0", str(START_MS + 60_000)]
    assert await warehouse.counters("A") == (5, 1, 0)


async def test_extend_longer_moves_the_index_to_the_next_hold(warehouse: Warehouse) -> None:
    """Lengthening the earliest hold leaves the sku's next deadline at the one after it, for every sku it spans."""
    for sku in "AB":
        await warehouse.stock(sku, 9)
    first = await warehouse.hold(wish("A", 1), wish("B", 1), ttl_ms=1000)
    await warehouse.hold(wish("A", 1), ttl_ms=5000)

    await warehouse.run(warehouse.extend(first, ttl_seconds=60))
    index = await warehouse.content(warehouse.keys.due)
    await warehouse.advance(1000)
    free = await warehouse.level("A")

    assert index == {"main/A": START_MS + 5000, "main/B": START_MS + 60_000}
    assert free.held == 2


async def test_extend_repeated_counts_only_from_the_last(warehouse: Warehouse) -> None:
    """Safe to repeat: the deadline is that of the last call."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=10_000)
    await warehouse.run(warehouse.extend(r, ttl_seconds=60))
    await warehouse.advance(5000)

    again = told(await warehouse.run(warehouse.extend(r, ttl_seconds=60)))

    assert again.deadline_ms == START_MS + 65_000
    assert len(await warehouse.content(warehouse.keys.holds("main", "A"))) == 1


async def test_extend_never_past_the_lifetime(warehouse: Warehouse) -> None:
    """EXTENSION_LIMIT with the latest deadline there is; exactly up to it is allowed; nothing changes on refusal."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=600_000)
    for _ in range(2):
        await warehouse.advance(590_000)
        await warehouse.run(warehouse.extend(r, ttl_seconds=600))
    await warehouse.advance(20_000)  # 1200 s of 1800 s are over
    exact = await warehouse.run(warehouse.extend(r, ttl_seconds=600))
    await warehouse.advance(1)
    before = await warehouse.snapshot()

    over = await warehouse.run(warehouse.extend(r, ttl_seconds=600))

    assert (exact.status, told(exact).deadline_ms) == ("EXTENDED", START_MS + 1_800_000)
    assert (over.status, over.fields) == ("EXTENSION_LIMIT", [r.id.random_part, str(START_MS + 1_800_000)])
    assert await warehouse.snapshot() == before


async def test_extend_into_another_tier_has_its_lifetime(warehouse: Warehouse) -> None:
    """The limit is that of the tier the hold moves to, counted since it was created."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=1_700_000)
    await warehouse.advance(1_699_000)

    cart = await warehouse.run(warehouse.extend(r, ttl_seconds=600))
    checkout = await warehouse.run(warehouse.extend(r, tier="checkout", ttl_seconds=600))

    assert (cart.status, checkout.status) == ("EXTENSION_LIMIT", "EXTENDED")


async def test_extend_longer_than_the_tier_allows(warehouse: Warehouse) -> None:
    """TTL_TOO_LONG with the tier and its most: the hold's own tier is known to the script alone."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))

    own = await warehouse.run(warehouse.extend(r, ttl_seconds=601))
    other = await warehouse.run(warehouse.extend(r, tier="checkout", ttl_seconds=1801))

    assert (own.status, own.fields) == ("TTL_TOO_LONG", ["cart", "600000"])
    assert (other.status, other.fields) == ("TTL_TOO_LONG", ["checkout", "1800000"])


async def test_extend_in_a_tier_that_is_no_more(warehouse: Warehouse) -> None:
    """NO_TIER with its name when the hold's tier is not configured any more; naming one that is works."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), tier="gone")

    answer = await warehouse.run(warehouse.extend(r))
    moved = told(await warehouse.run(warehouse.extend(r, tier="cart")))

    assert (answer.status, answer.fields) == ("NO_TIER", ["gone"])
    assert moved.tier == "cart"
    assert "gone" not in POLICY.tiers


async def test_extend_of_a_hold_over_two_locations_keeps_one_entry(warehouse: Warehouse) -> None:
    """Two lines of one sku are one entry in its index."""
    await warehouse.stock("A", 2, "a")
    await warehouse.stock("A", 2, "b")
    r = await warehouse.hold(wish("A", 4), ttl_ms=1000)

    await warehouse.run(warehouse.extend(r, ttl_seconds=5))

    assert await warehouse.content(warehouse.keys.holds("main", "A")) == {r.id.random_part: START_MS + 5000}


async def test_extend_twice_in_a_batch(warehouse: Warehouse) -> None:
    """The later one of a batch wins, also when it shortens; reserve and release of one id in a batch leave no entry."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=300_000)

    await warehouse.batch(warehouse.extend(r, ttl_seconds=600), warehouse.extend(r, ttl_seconds=2))
    index = await warehouse.content(warehouse.keys.due)
    await warehouse.batch(warehouse.extend(r, ttl_seconds=1), warehouse.release(replace(r)))

    assert index == {"main/A": START_MS + 2000}
    assert await warehouse.content(warehouse.keys.due) == "none"
