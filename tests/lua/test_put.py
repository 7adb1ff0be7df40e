"""put: what a source tells about a level, under its own sequence; reflected sales are settled in the same step."""

from __future__ import annotations

import pytest

from gateway.domain.event import CONFIGURED, COUNTED, SHIPPED
from gateway.domain.stock import Level
from gateway.hot.operations import parse_sku
from tests.lua.warehouse import START_MS, Warehouse, told, wish

LAST_SEQUENCE = 2**53 - 1


def level_in(answer, location: str = "main") -> Level:  # type: ignore[no-untyped-def]
    """The level told by an answer that carries a sku."""
    return parse_sku(answer.fields[0]).levels[location]


async def test_put_first_write_creates_the_level(warehouse: Warehouse) -> None:
    """APPLIED: a level with the given numbers, 0 where none is given, version 1, and its source's fence."""
    await warehouse.create("A")

    answer = await warehouse.run(warehouse.put("A", "hall", safety_stock=2, source="wms", sequence=7, content="ab12"))

    level = level_in(answer, "hall")
    event = (await warehouse.remember())[-1]
    assert answer.status == "APPLIED"
    assert (level.on_hand, level.held, level.committed, level.deducted, level.safety_stock) == (0, 0, 0, 0, 2)
    assert (level.version, level.epoch, level.seq, level.updated_ms) == (1, 1, event.seq, START_MS)
    assert [(s.source, s.sequence, s.deduction, s.digest) for s in level.sources.values()] == [("wms", 7, 0, "ab12")]
    assert (event.type, event.source) == (CONFIGURED, "wms")


async def test_put_on_hand_is_a_count(warehouse: Warehouse) -> None:
    """With on_hand the event is stock.counted; fields that are not given stay as they are, 0 is a value."""
    await warehouse.create("A")
    await warehouse.run(warehouse.put("A", on_hand=9, deduction=2, safety_stock=3))

    kept = level_in(await warehouse.run(warehouse.put("A", on_hand=5)))
    zero = level_in(await warehouse.run(warehouse.put("A", on_hand=0, deduction=0, safety_stock=0)))

    assert (await warehouse.remember())[-1].type == COUNTED
    assert (kept.on_hand, kept.deducted, kept.safety_stock) == (5, 2, 3)
    assert (zero.on_hand, zero.deducted, zero.safety_stock) == (0, 0, 0)


async def test_put_leaves_what_is_promised(warehouse: Warehouse) -> None:
    """A count moves on_hand alone: held and committed stay, and available may fall below zero."""
    await warehouse.stock("A", 10)
    await warehouse.hold(wish("A", 3))
    await warehouse.sell(wish("A", 4))

    level = level_in(await warehouse.run(warehouse.put("A", on_hand=5)))

    assert (level.on_hand, level.held, level.committed, level.available) == (5, 3, 4, -2)


@pytest.mark.parametrize(
    ("stored", "told_now", "status"),
    [
        (5, 4, "STALE"),
        (5, 5, "STALE"),  # the same sequence with other content
        (5, 6, "APPLIED"),
        (1, LAST_SEQUENCE, "APPLIED"),
        (LAST_SEQUENCE - 1, LAST_SEQUENCE, "APPLIED"),
        (LAST_SEQUENCE, LAST_SEQUENCE - 1, "STALE"),
        (LAST_SEQUENCE, LAST_SEQUENCE, "STALE"),
        (10**15, 10**15 + 1, "APPLIED"),
    ],
)
async def test_put_sequence_gate(warehouse: Warehouse, stored: int, told_now: int, status: str) -> None:
    """Only a greater sequence is applied, exactly up to 2^53-1; a stale one is told the stored, and changes nothing."""
    await warehouse.create("A")
    await warehouse.run(warehouse.put("A", on_hand=1, sequence=stored))
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.put("A", on_hand=2, sequence=told_now))

    assert answer.status == status
    if status == "STALE":
        assert answer.fields == [str(stored)]
        assert await warehouse.snapshot() == before
    else:
        assert level_in(answer).sources["erp"].sequence == told_now


@pytest.mark.parametrize("sequence", [1, LAST_SEQUENCE])
async def test_put_same_message_again_is_unchanged(warehouse: Warehouse, sequence: int) -> None:
    """The same sequence with the same content: UNCHANGED with the level as it is now, nothing written."""
    await warehouse.create("A")
    await warehouse.run(warehouse.put("A", on_hand=5, sequence=sequence))
    await warehouse.run(warehouse.adjust("A", 3))
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.put("A", on_hand=5, sequence=sequence))

    assert (answer.status, level_in(answer).on_hand) == ("UNCHANGED", 8)
    assert await warehouse.snapshot() == before


async def test_put_each_source_has_its_own_sequence_per_level(warehouse: Warehouse) -> None:
    """Another source, and another location, begins anywhere."""
    await warehouse.create("A")
    await warehouse.run(warehouse.put("A", "a", 5, source="erp", sequence=100))

    other_source = await warehouse.run(warehouse.put("A", "a", 6, source="wms", sequence=1))
    other_place = await warehouse.run(warehouse.put("A", "b", 7, source="erp", sequence=1))
    stale = await warehouse.run(warehouse.put("A", "a", 8, source="erp", sequence=100))

    assert [answer.status for answer in (other_source, other_place, stale)] == ["APPLIED", "APPLIED", "STALE"]


@pytest.mark.parametrize(("seen", "status"), [(0, "CONFLICT"), (1, "CONFLICT"), (2, "APPLIED"), (3, "CONFLICT")])
async def test_put_if_match(warehouse: Warehouse, seen: int, status: str) -> None:
    """Applied only on the version the caller saw; CONFLICT tells the one there is, and nothing changes."""
    await warehouse.stock("A", 5)
    await warehouse.run(warehouse.adjust("A", 1))
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.put("A", on_hand=9, if_match=seen))

    assert answer.status == status
    if status == "CONFLICT":
        assert answer.fields == ["2"]
        assert await warehouse.snapshot() == before


async def test_put_if_match_of_a_level_that_is_not_there(warehouse: Warehouse) -> None:
    """Version 0 is the level that does not exist yet; version 1 conflicts with it."""
    await warehouse.create("A")

    wrong = await warehouse.run(warehouse.put("A", on_hand=9, if_match=1))
    right = await warehouse.run(warehouse.put("A", on_hand=9, if_match=0))

    assert (wrong.status, wrong.fields, right.status) == ("CONFLICT", ["0"], "APPLIED")


async def test_put_stale_comes_before_conflict(warehouse: Warehouse) -> None:
    """The gate of the source is judged first: a repeated message is UNCHANGED whatever version it names."""
    await warehouse.create("A")
    await warehouse.run(warehouse.put("A", on_hand=5, sequence=5, if_match=0))

    again = await warehouse.run(warehouse.put("A", on_hand=5, sequence=5, if_match=0))
    stale = await warehouse.run(warehouse.put("A", on_hand=6, sequence=4, if_match=0))

    assert (again.status, stale.status) == ("UNCHANGED", "STALE")


async def test_put_more_than_100_sources(warehouse: Warehouse) -> None:
    """The 101st source of a level is TOO_MANY_SOURCES; one of the 100 may go on, and another level has its own."""
    await warehouse.create("A")
    for n in range(100):
        await warehouse.run(warehouse.put("A", on_hand=n, deduction=n, source=f"s{n}"))

    over = await warehouse.run(warehouse.put("A", on_hand=1, source="one-more"))
    known = await warehouse.run(warehouse.put("A", on_hand=1, source="s7"))
    elsewhere = await warehouse.run(warehouse.put("A", "b", on_hand=1, source="one-more"))

    assert [answer.status for answer in (over, known, elsewhere)] == ["TOO_MANY_SOURCES", "APPLIED", "APPLIED"]
    assert level_in(known).deducted == sum(range(100))


# reflects


async def test_put_reflects_settles_the_sale_and_lands_on_the_count(warehouse: Warehouse) -> None:
    """The count no longer contains the sold units: committed falls, on_hand is exactly what was told, the sale is fulfilled."""
    await warehouse.stock("A", 10)
    sold = await warehouse.sell(wish("A", 3))
    other = await warehouse.sell(wish("A", 2))
    await warehouse.hold(wish("A", 1))
    await warehouse.advance(50)

    answer = await warehouse.run(warehouse.put("A", on_hand=7, reflects=[sold.id]))

    level = level_in(answer)
    after = told(await warehouse.run(warehouse.read_reservation(sold.id)))
    events = (await warehouse.remember())[-2:]
    assert (level.on_hand, level.held, level.committed, level.available) == (7, 1, 2, 4)
    assert (after.state, after.ended_ms, after.lines[0].settled) == ("fulfilled", START_MS + 50, True)
    assert [(event.type, event.reason) for event in events] == [(SHIPPED, "reflected"), (COUNTED, "")]
    assert told(await warehouse.run(warehouse.read_reservation(other.id))).state == "confirmed"


async def test_put_reflects_a_part_of_a_sale(warehouse: Warehouse) -> None:
    """Only this level's lines are settled; the sale is fulfilled when all are; later fulfil touches the others alone."""
    await warehouse.stock("A", 10, "a")
    await warehouse.stock("A", 10, "b")
    await warehouse.stock("B", 10, "a")
    sold = await warehouse.sell(wish("A", 3, "a"), wish("A", 4, "b"), wish("B", 5, "a"))

    await warehouse.run(warehouse.put("A", "a", 7, reflects=[sold.id]))
    part = told(await warehouse.run(warehouse.read_reservation(sold.id)))
    counters = [await warehouse.counters(*place) for place in (("A", "a"), ("A", "b"), ("B", "a"))]
    await warehouse.run(warehouse.fulfil(sold))

    assert part.state == "confirmed"
    assert [line.settled for line in part.lines] == [True, False, False]
    assert counters == [(7, 0, 0), (10, 0, 4), (10, 0, 5)]
    after = [await warehouse.counters(*place) for place in (("A", "a"), ("A", "b"), ("B", "a"))]
    assert after == [(7, 0, 0), (6, 0, 0), (5, 0, 0)]


async def test_put_reflects_then_release_touches_the_rest(warehouse: Warehouse) -> None:
    """Releasing a sale whose first line is settled gives the other line's units back, and only those."""
    await warehouse.stock("A", 10, "a")
    await warehouse.stock("A", 10, "b")
    sold = await warehouse.sell(wish("A", 3, "a"), wish("A", 4, "b"))
    await warehouse.run(warehouse.put("A", "a", 7, reflects=[sold.id]))

    answer = await warehouse.run(warehouse.release(sold))

    assert told(answer).state == "released"
    assert [await warehouse.counters("A", location) for location in "ab"] == [(7, 0, 0), (10, 0, 0)]


async def test_put_reflects_level_by_level_until_it_is_whole(warehouse: Warehouse) -> None:
    """The last settled line makes it fulfilled; the same id told again by that level is not confirmed any more."""
    await warehouse.stock("A", 10, "a")
    await warehouse.stock("A", 10, "b")
    sold = await warehouse.sell(wish("A", 3, "a"), wish("A", 4, "b"))

    await warehouse.run(warehouse.put("A", "a", 7, reflects=[sold.id]))
    await warehouse.run(warehouse.put("A", "b", 6, reflects=[sold.id]))
    again = await warehouse.run(warehouse.put("A", "b", 6, reflects=[sold.id]))

    assert told(await warehouse.run(warehouse.read_reservation(sold.id))).state == "fulfilled"
    assert (again.status, again.fields) == ("NOT_CONFIRMED", [sold.id.random_part])
    assert await warehouse.counters("A", "b") == (6, 0, 0)


async def test_put_reflects_the_same_line_twice_counts_once(warehouse: Warehouse) -> None:
    """An id named twice in one call, or a settled line told again while the sale is open, is not subtracted twice."""
    await warehouse.stock("A", 10, "a")
    await warehouse.stock("A", 10, "b")
    sold = await warehouse.sell(wish("A", 3, "a"), wish("A", 4, "b"))

    first = await warehouse.run(warehouse.put("A", "a", 7, reflects=[sold.id, sold.id]))
    second = await warehouse.run(warehouse.put("A", "a", 6, reflects=[sold.id]))

    assert (first.status, second.status) == ("APPLIED", "APPLIED")
    assert await warehouse.counters("A", "a") == (6, 0, 0)


async def test_put_reflects_refuses_what_is_not_confirmed(warehouse: Warehouse) -> None:
    """Held, fulfilled, released, expired, another shop's and a wrong birth: NOT_CONFIRMED names each, nothing is applied."""
    await warehouse.stock("A", 30)
    await warehouse.stock("A", 30, shop="other")
    good = await warehouse.sell(wish("A", 1))
    held = await warehouse.hold(wish("A", 1))
    done = await warehouse.sell(wish("A", 1))
    await warehouse.run(warehouse.fulfil(done))
    gone = await warehouse.hold(wish("A", 1))
    await warehouse.run(warehouse.release(gone))
    late = await warehouse.hold(wish("A", 1), ttl_ms=1)
    foreign = await warehouse.hold(wish("A", 1), shop="other")
    await warehouse.run(warehouse.confirm(foreign, shop="other"))
    forged = (await warehouse.sell(wish("A", 1))).id._replace(seq=1)
    await warehouse.advance(1)
    ids = [good.id, held.id, done.id, gone.id, late.id, foreign.id, forged]
    await warehouse.run(warehouse.expire())
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.put("A", on_hand=99, reflects=ids))

    assert (answer.status, answer.fields) == ("NOT_CONFIRMED", [id.random_part for id in ids[1:]])
    assert await warehouse.snapshot() == before


async def test_put_reflects_an_unknown_id_asks_for_it(warehouse: Warehouse) -> None:
    """A reservation that is not in Redis is asked for by name, like any other."""
    await warehouse.stock("A", 30)
    unknown = (await warehouse.hold(wish("A", 1))).id._replace(random_part="x" * 16)

    answer = await warehouse.run(warehouse.put("A", on_hand=9, reflects=[unknown]))

    assert (answer.status, answer.fields) == ("NOT_LOADED", [f"r:{'x' * 16}"])


async def test_put_reflects_a_sale_without_units_here(warehouse: Warehouse) -> None:
    """A confirmed sale that has no line at this level is none of its business: the count is applied, the sale stays."""
    await warehouse.stock("A", 10)
    await warehouse.stock("B", 10)
    sold = await warehouse.sell(wish("B", 3))

    answer = await warehouse.run(warehouse.put("A", on_hand=9, reflects=[sold.id]))

    assert answer.status == "APPLIED"
    assert told(await warehouse.run(warehouse.read_reservation(sold.id))).state == "confirmed"
    assert await warehouse.counters("B") == (10, 0, 3)


async def test_put_reflects_a_thousand_sales(warehouse: Warehouse) -> None:
    """A thousand ids in one call: each settled once, on_hand exactly as told."""
    await warehouse.stock("A", 5000)
    ids = [(await warehouse.sell(wish("A", 2))).id for _ in range(1000)]

    answer = await warehouse.run(warehouse.put("A", on_hand=3000, reflects=ids))

    level = level_in(answer)
    assert (level.on_hand, level.committed) == (3000, 0)


@pytest.mark.parametrize("told", [{"deduction": 0}, {"safety_stock": 0}, {}])
async def test_put_without_a_count_can_not_free_sold_units(warehouse: Warehouse, told: dict[str, int]) -> None:
    """`reflects` belongs to a count. Without one it is refused: sold units are not put back on sale, nothing changes.

    The HTTP floor refuses such a body; the script does not depend on that.
    """
    await warehouse.stock("A", 10)
    sold = await warehouse.sell(wish("A", 10))
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.put("A", reflects=[sold.id], **told))
    unchanged = await warehouse.snapshot() == before
    again = await warehouse.run(warehouse.reserve(wish("A", 10)))

    assert (answer.status, answer.fields, unchanged) == ("NO_COUNT", [], True)
    assert again.status == "OUT_OF_STOCK"


async def test_put_frees_what_is_due_in_the_same_step(warehouse: Warehouse) -> None:
    """The level told by put has no unit in it whose hold is past its deadline."""
    await warehouse.stock("A", 10)
    await warehouse.hold(wish("A", 4), ttl_ms=10)
    await warehouse.advance(10)

    level = level_in(await warehouse.run(warehouse.put("A", on_hand=20)))

    assert (level.held, level.available) == (0, 20)
