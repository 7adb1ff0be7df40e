"""reserve: all lines or none, once per key."""

from __future__ import annotations

import pytest

from gateway.domain.event import RESERVED
from gateway.domain.identifier import mint_random_part
from gateway.domain.reservation import Line
from gateway.hot.operations import parse_shortages
from tests.lua.warehouse import ACTOR, SHOP, START_MS, Warehouse, told, wish


async def test_reserve_holds_units_until_the_deadline(warehouse: Warehouse) -> None:
    """RESERVED: the reservation with its birth as id, the units held, one event that tells both."""
    await warehouse.stock("A", 10)
    call = warehouse.reserve(wish("A", 3), ttl_ms=1500, reference="cart-17")

    answer = await warehouse.run(call)

    r = told(answer)
    event = (await warehouse.remember())[-1]
    level = await warehouse.level("A")
    assert (answer.status, answer.fields[2]) == ("RESERVED", "")
    assert (r.state, r.deadline_ms, r.created_ms) == ("held", START_MS + 1500, START_MS)
    assert (r.id.epoch, r.id.seq) == (r.epoch, r.seq) == (event.epoch, event.seq)
    assert (r.confirmed_ms, r.ended_ms, r.shop, r.tier, r.reference) == (None, None, SHOP, "cart", "cart-17")
    assert r.lines == [Line("A", "main", 3)]
    assert (level.on_hand, level.held, level.available, level.version, level.seq) == (10, 3, 7, 2, event.seq)
    assert (event.type, event.shop, event.actor, event.reference) == (RESERVED, SHOP, ACTOR, "cart-17")


async def test_reserve_last_unit_then_nothing(warehouse: Warehouse) -> None:
    """Exactly what is available can be held, and not one unit more."""
    await warehouse.stock("A", 3)
    await warehouse.hold(wish("A", 2))
    await warehouse.hold(wish("A", 1))
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.reserve(wish("A", 1)))

    assert answer.status == "OUT_OF_STOCK"
    assert await warehouse.snapshot() == before


async def test_reserve_several_skus_all_or_none(warehouse: Warehouse) -> None:
    """One short line refuses all, names only the short ones, and holds nothing."""
    await warehouse.stock("A", 5)
    await warehouse.stock("B", 1)
    before = await warehouse.snapshot()

    refused = await warehouse.run(warehouse.reserve(wish("A", 5), wish("B", 2)))
    unchanged = await warehouse.snapshot() == before
    held = await warehouse.hold(wish("A", 5), wish("B", 1))

    shortages = parse_shortages(refused.fields[0])
    assert [(s.sku, s.requested, s.available, s.reason) for s in shortages] == [("B", 2, 1, "sold_out")]
    assert unchanged
    assert held.lines == [Line("A", "main", 5), Line("B", "main", 1)]


async def test_reserve_unknown_sku_names_all_of_them(warehouse: Warehouse) -> None:
    """A sku without any level is UNKNOWN_SKU, also beside one that is short; nothing changes."""
    await warehouse.stock("A", 1)
    await warehouse.create("X")
    await warehouse.create("Y")
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.reserve(wish("X", 1), wish("A", 5), wish("Y", 1, "main")))

    assert (answer.status, answer.fields) == ("UNKNOWN_SKU", ["X", "Y"])
    assert await warehouse.snapshot() == before


async def test_reserve_same_key_twice_holds_once(warehouse: Warehouse) -> None:
    """The second attempt under a key is REPLAYED with the first one's id; its own random part is dropped."""
    await warehouse.stock("A", 10)
    first = await warehouse.hold(wish("A", 3), key="k1")
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.reserve(wish("A", 3), key="k1"))

    assert (answer.status, told(answer)) == ("REPLAYED", first)
    assert await warehouse.snapshot() == before


async def test_reserve_same_key_other_body_is_reused(warehouse: Warehouse) -> None:
    """Another fingerprint under the key is REUSED; nothing changes."""
    await warehouse.stock("A", 10)
    await warehouse.hold(wish("A", 3), key="k1", fingerprint="f1")
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.reserve(wish("A", 3), key="k1", fingerprint="f2"))

    assert (answer.status, answer.fields) == ("REUSED", [])
    assert await warehouse.snapshot() == before


async def test_reserve_replay_tells_the_reservation_as_it_is_now(warehouse: Warehouse) -> None:
    """After confirm, after release and past the deadline a replay shows the state, and holds nothing anew."""
    await warehouse.stock("A", 30)
    states = []
    sold = await warehouse.hold(wish("A", 1), key="sold")
    await warehouse.run(warehouse.confirm(sold))
    gone = await warehouse.hold(wish("A", 1), key="gone")
    await warehouse.run(warehouse.release(gone))
    await warehouse.hold(wish("A", 1), key="late", ttl_ms=10)
    await warehouse.advance(10)

    for key in ("sold", "gone", "late"):
        answer = await warehouse.run(warehouse.reserve(wish("A", 1), key=key))
        states.append((answer.status, told(answer).state))

    assert states == [("REPLAYED", "confirmed"), ("REPLAYED", "released"), ("REPLAYED", "expired")]
    assert await warehouse.counters("A") == (30, 0, 1)


async def test_reserve_refusal_is_not_remembered(warehouse: Warehouse) -> None:
    """A refused attempt leaves no record: the same key is judged afresh when there is stock, also with another body."""
    await warehouse.stock("A", 1)
    refused = await warehouse.run(warehouse.reserve(wish("A", 5), key="k1", fingerprint="f1"))
    await warehouse.stock("A", 10)

    answer = await warehouse.run(warehouse.reserve(wish("A", 5), key="k1", fingerprint="f2"))

    assert (refused.status, answer.status) == ("OUT_OF_STOCK", "RESERVED")


async def test_reserve_replay_needs_no_stock_and_no_room(warehouse: Warehouse) -> None:
    """The replay check comes before stock and backlog are judged: a retry gets its hold although all is gone and full."""
    await warehouse.stock("A", 3)
    first = await warehouse.hold(wish("A", 3), key="k1")

    reply = await warehouse.raw(warehouse.reserve(wish("A", 3), key="k1"), backlog_max=0)

    assert reply[1] == "REPLAYED"
    assert reply[4] == first.id.random_part


async def test_reserve_replay_does_not_ask_for_the_sku(warehouse: Warehouse) -> None:
    """A replay needs the reservation alone: a sku that went cold is not loaded for it."""
    await warehouse.stock("A", 3)
    first = await warehouse.sell(wish("A", 3), key="k1")
    cold = await warehouse.call("HGETALL", warehouse.keys.sku(SHOP, "A"))
    await warehouse.call("DEL", warehouse.keys.sku(SHOP, "A"))

    answer = await warehouse.run(warehouse.reserve(wish("A", 3), key="k1"))

    assert told(answer) == first
    await warehouse.call("HSET", warehouse.keys.sku(SHOP, "A"), *cold)


async def test_reserve_without_key_sent_again_is_one_hold(warehouse: Warehouse) -> None:
    """The same attempt again (its random part tells it) holds once and answers RESERVED as before."""
    await warehouse.stock("A", 10)
    call = warehouse.reserve(wish("A", 4))
    first = await warehouse.run(call)
    before = await warehouse.snapshot()

    second = await warehouse.run(call)

    assert second.status == "RESERVED"
    assert told(second) == told(first)
    assert await warehouse.snapshot() == before


async def test_reserve_without_key_twice_holds_twice(warehouse: Warehouse) -> None:
    """Two attempts without a key are two holds."""
    await warehouse.stock("A", 10)

    first, second = await warehouse.hold(wish("A", 4)), await warehouse.hold(wish("A", 4))

    assert first.id != second.id
    assert await warehouse.counters("A") == (10, 8, 0)


async def test_reserve_partial_sent_again_tells_the_same_shortages(warehouse: Warehouse) -> None:
    """The answer that the lost reply would have carried: also the shortages of a partial hold, wish by wish."""
    await warehouse.stock("A", 3, "a")
    await warehouse.stock("A", 4, "b")
    await warehouse.stock("B", 9)
    await warehouse.stock("C", 2)
    await warehouse.hold(wish("C", 1), ttl_ms=7000)
    await warehouse.stock("D", 5, safety_stock=4)
    await warehouse.stock("E", 5)
    await warehouse.run(warehouse.pause("E"))
    wishes = [wish("A", 9), wish("A", 2, "a"), wish("B", 9), wish("C", 2), wish("D", 2), wish("E", 3)]
    call = warehouse.reserve(*wishes, partial=True, priority="b")
    first = await warehouse.run(call)
    before = await warehouse.snapshot()

    second = await warehouse.run(call)

    shortages = parse_shortages(second.fields[2])
    assert second.fields[:2] == first.fields[:2]
    assert [(one.sku, one.requested, one.available) for one in shortages] == [
        ("A", 9, 5),
        ("C", 2, 1),
        ("D", 2, 1),
        ("E", 3, 0),
    ]
    told_first = parse_shortages(first.fields[2])
    assert [(one.sku, one.reason, one.next_release_ms) for one in shortages] == [
        (one.sku, one.reason, one.next_release_ms) for one in told_first
    ]
    assert [one.reason for one in shortages] == ["sold_out", "held", "reserved_for_safety", "paused"]
    assert await warehouse.snapshot() == before


async def test_reserve_partial_sent_again_judges_the_reasons_anew(warehouse: Warehouse) -> None:
    """What was granted stays; why not more is told as it is now, and the hold itself is no reason for its own shortage."""
    await warehouse.stock("A", 3)
    call = warehouse.reserve(wish("A", 5), partial=True)
    first = await warehouse.run(call)
    await warehouse.run(warehouse.adjust("A", 2))
    await warehouse.hold(wish("A", 2), ttl_ms=4000)

    second = await warehouse.run(call)

    (was,), (now,) = parse_shortages(first.fields[2]), parse_shortages(second.fields[2])
    assert (was.requested, was.available, was.reason) == (5, 3, "sold_out")
    assert (now.requested, now.available, now.reason, now.next_release_ms) == (5, 3, "held", START_MS + 4000)


async def test_reserve_partial_sent_again_asks_for_a_sku_that_is_gone(warehouse: Warehouse) -> None:
    """A sku of which nothing was granted may have gone cold meanwhile: it is asked for, as the first time."""
    await warehouse.stock("A", 3)
    await warehouse.stock("B", 0)
    call = warehouse.reserve(wish("A", 3), wish("B", 1), partial=True)
    await warehouse.run(call)
    cold = await warehouse.call("HGETALL", warehouse.keys.sku(SHOP, "B"))
    await warehouse.call("DEL", warehouse.keys.sku(SHOP, "B"))

    asked = await warehouse.run(call)
    await warehouse.call("HSET", warehouse.keys.sku(SHOP, "B"), *cold)
    answer = await warehouse.run(call)

    assert (asked.status, asked.fields) == ("NOT_LOADED", ["s:main/B"])
    assert [(one.sku, one.available) for one in parse_shortages(answer.fields[2])] == [("B", 0)]


async def test_reserve_due_units_are_sold_at_the_exact_deadline(warehouse: Warehouse) -> None:
    """One millisecond before the deadline the units are held, at it they are free: no sweep is needed."""
    await warehouse.stock("A", 3)
    old = await warehouse.hold(wish("A", 3), ttl_ms=1000)

    await warehouse.advance(999)
    before = await warehouse.run(warehouse.reserve(wish("A", 1)))
    await warehouse.advance(1)
    after = await warehouse.run(warehouse.reserve(wish("A", 3)))

    gone = told(await warehouse.run(warehouse.read_reservation(old.id)))
    types = [event.type for event in await warehouse.remember()]
    assert (before.status, after.status) == ("OUT_OF_STOCK", "RESERVED")
    assert (gone.state, gone.ended_ms) == ("expired", START_MS + 1000)
    assert types[-2:] == ["stock.expired", "stock.reserved"]


async def test_reserve_takes_back_a_multi_sku_hold_through_one_of_its_skus(warehouse: Warehouse) -> None:
    """A hold over three skus that is due through one gives all of them back, and leaves no index entry."""
    for sku in "ABC":
        await warehouse.stock(sku, 2)
    await warehouse.hold(*[wish(sku, 2) for sku in "ABC"], ttl_ms=10)
    await warehouse.advance(10)

    answer = await warehouse.run(warehouse.reserve(wish("B", 2)))

    assert answer.status == "RESERVED"
    assert [await warehouse.counters(sku) for sku in "ABC"] == [(2, 0, 0), (2, 2, 0), (2, 0, 0)]


async def test_reserve_refused_still_gives_back_what_is_due(warehouse: Warehouse) -> None:
    """Units past their deadline come back even when the call that met them is refused."""
    await warehouse.stock("A", 3)
    await warehouse.hold(wish("A", 3), ttl_ms=10)
    await warehouse.advance(10)

    answer = await warehouse.run(warehouse.reserve(wish("A", 4)))

    assert answer.status == "OUT_OF_STOCK"
    assert parse_shortages(answer.fields[0])[0].available == 3
    assert (await warehouse.remember())[-1].type == "stock.expired"


async def test_reserve_repeated_sku_is_summed_before_it_is_judged(warehouse: Warehouse) -> None:
    """2 + 2 of a sku with 3 units is short by the sum; 2 + 1 becomes one line."""
    await warehouse.stock("A", 3)

    refused = await warehouse.run(warehouse.reserve(wish("A", 2), wish("A", 2)))
    held = await warehouse.hold(wish("A", 2), wish("A", 1))

    assert [(s.requested, s.available) for s in parse_shortages(refused.fields[0])] == [(4, 3)]
    assert held.lines == [Line("A", "main", 3)]


async def test_reserve_shops_do_not_see_each_other(warehouse: Warehouse) -> None:
    """The same sku in two shops is two skus, and one key in two shops has two records upstream."""
    await warehouse.stock("A", 3)
    await warehouse.stock("A", 5, shop="b")

    held = await warehouse.hold(wish("A", 5), shop="b")
    refused = await warehouse.run(warehouse.reserve(wish("A", 4)))

    assert held.shop == "b"
    assert refused.status == "OUT_OF_STOCK"
    assert (await warehouse.level("A", shop="b")).held == 5


async def test_reserve_paused_sku_takes_nothing_new(warehouse: Warehouse) -> None:
    """A paused sku refuses with the reason paused although it has units, also partially; another sku of the call is not held."""
    await warehouse.stock("A", 3)
    await warehouse.stock("B", 3)
    await warehouse.run(warehouse.pause("A", reason="recall"))

    refused = await warehouse.run(warehouse.reserve(wish("A", 1), wish("B", 1)))
    partial = await warehouse.run(warehouse.reserve(wish("A", 1), wish("B", 1), partial=True))

    assert [(s.sku, s.reason, s.next_release_ms) for s in parse_shortages(refused.fields[0])] == [("A", "paused", None)]
    assert (partial.status, told(partial).lines) == ("RESERVED", [Line("B", "main", 1)])


@pytest.mark.parametrize(
    ("wanted", "status", "lines", "short"),
    [
        ((2, 2), "RESERVED", [("A", 2), ("B", 2)], []),
        ((5, 2), "RESERVED", [("A", 3), ("B", 2)], [("A", 5, 3)]),
        ((5, 9), "RESERVED", [("A", 3), ("B", 4)], [("A", 5, 3), ("B", 9, 4)]),
    ],
)
async def test_reserve_partial_takes_what_there_is(
    warehouse: Warehouse,
    wanted: tuple[int, int],
    status: str,
    lines: list[tuple[str, int]],
    short: list[tuple[str, int, int]],
) -> None:
    """With allow_partial each line gets what is available, and the shortages say what was missing."""
    await warehouse.stock("A", 3)
    await warehouse.stock("B", 4)

    answer = await warehouse.run(warehouse.reserve(wish("A", wanted[0]), wish("B", wanted[1]), partial=True))

    assert answer.status == status
    assert [(line.sku, line.quantity) for line in told(answer).lines] == lines
    assert [(s.sku, s.requested, s.available) for s in parse_shortages(answer.fields[2])] == short


async def test_reserve_partial_leaves_out_lines_that_get_nothing(warehouse: Warehouse) -> None:
    """A line without a unit is left out; when all get none the call is refused and nothing changes."""
    await warehouse.stock("A", 0)
    await warehouse.stock("B", 1)

    answer = await warehouse.run(warehouse.reserve(wish("A", 1), wish("B", 1), partial=True))
    before = await warehouse.snapshot()
    nothing = await warehouse.run(warehouse.reserve(wish("A", 1), wish("B", 1), partial=True))

    assert told(answer).lines == [Line("B", "main", 1)]
    assert nothing.status == "OUT_OF_STOCK"
    assert [s.sku for s in parse_shortages(nothing.fields[0])] == ["A", "B"]
    assert await warehouse.snapshot() == before


async def test_reserve_largest_quantities_stay_exact(warehouse: Warehouse) -> None:
    """10^9 units and sums of many lines of 10^9 are told to the unit."""
    most = 1_000_000_000
    await warehouse.stock("A", most)

    refused = await warehouse.run(warehouse.reserve(*[wish("A", most) for _ in range(999)], wish("A", most - 1)))
    held = await warehouse.hold(wish("A", most))

    assert parse_shortages(refused.fields[0])[0].requested == 1000 * most - 1
    assert held.lines[0].quantity == most
    assert await warehouse.counters("A") == (most, most, 0)


async def test_reserve_a_thousand_lines_is_one_event(warehouse: Warehouse) -> None:
    """A thousand skus are held in one step, told by one event and given back in one."""
    for n in range(1000):
        await warehouse.stock(f"S{n}", 1)
    seq = (await warehouse.remember())[-1].seq

    held = await warehouse.hold(*[wish(f"S{n}", 1) for n in range(1000)])
    await warehouse.run(warehouse.release(held))

    assert (await warehouse.remember())[-1].seq == seq + 2
    assert len(held.lines) == 1000


async def test_reserve_ten_thousand_random_parts_differ() -> None:
    """The random part is minted from 96 random bits: no two alike."""
    assert len({mint_random_part() for _ in range(10_000)}) == 10_000
