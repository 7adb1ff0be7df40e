"""expire: the sweep, in bounded steps, the earliest first."""

from __future__ import annotations

from gateway.domain.event import EXPIRED
from tests.lua.warehouse import START_MS, Warehouse, told, wish


async def test_expire_nothing_due_writes_nothing(warehouse: Warehouse) -> None:
    """SWEPT with 0 holds and the next deadline; 0 when no hold is open. No event, no change."""
    await warehouse.stock("A", 5)
    empty = await warehouse.run(warehouse.expire())
    await warehouse.hold(wish("A", 1), ttl_ms=1000)
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.expire())

    assert empty.fields == ["0", "0", "0"]
    assert (answer.status, answer.fields) == ("SWEPT", ["0", "0", str(START_MS + 1000)])
    assert await warehouse.snapshot() == before


async def test_expire_takes_back_at_the_deadline_and_tells_the_lateness(warehouse: Warehouse) -> None:
    """One event per hold, ended at its deadline; lateness is that of the latest."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 1), ttl_ms=1000)
    await warehouse.hold(wish("A", 1), ttl_ms=1500)
    await warehouse.advance(1700)

    answer = await warehouse.run(warehouse.expire())

    events = (await warehouse.remember())[-2:]
    assert answer.fields == ["2", "700", "0"]
    assert [(event.type, event.actor, event.reason) for event in events] == [(EXPIRED, "gateway", "deadline")] * 2
    assert told(await warehouse.run(warehouse.read_reservation(r.id))).ended_ms == START_MS + 1000


async def test_expire_is_bounded_per_call(warehouse: Warehouse) -> None:
    """At most holds_max per call; what is left keeps its index entries and goes next."""
    await warehouse.stock("A", 9)
    await warehouse.stock("B", 9)
    for n in range(7):
        await warehouse.hold(wish("A" if n % 2 else "B", 1), ttl_ms=100 + n)
    await warehouse.advance(1000)

    counts = [(await warehouse.run(warehouse.expire(3))).fields for _ in range(3)]

    assert [fields[0] for fields in counts] == ["3", "3", "1"]
    assert all(int(fields[2]) > 0 for fields in counts[:2])
    assert counts[2][2] == "0"


async def test_expire_earliest_sku_first(warehouse: Warehouse) -> None:
    """The sku with the earliest deadline is swept first."""
    for sku in "AB":
        await warehouse.stock(sku, 9)
    later = await warehouse.hold(wish("A", 1), ttl_ms=200)
    sooner = await warehouse.hold(wish("B", 1), ttl_ms=100)
    await warehouse.advance(1000)

    await warehouse.run(warehouse.expire(1))

    events = [event for event in await warehouse.remember() if event.type == EXPIRED]
    assert [event.facts[0][1] for event in events] == [sooner.id.random_part]
    assert later.id != sooner.id


async def test_expire_multi_sku_hold_once(warehouse: Warehouse) -> None:
    """A hold over several skus is taken back once, from all their indexes."""
    for sku in "ABC":
        await warehouse.stock(sku, 9)
    await warehouse.hold(*[wish(sku, 2) for sku in "ABC"], ttl_ms=100)
    await warehouse.hold(wish("B", 1), ttl_ms=9000)
    await warehouse.advance(100)

    answer = await warehouse.run(warehouse.expire())

    assert answer.fields == ["1", "0", str(START_MS + 9000)]
    assert [await warehouse.counters(sku) for sku in "ABC"] == [(9, 0, 0), (9, 1, 0), (9, 0, 0)]


async def test_expire_clears_an_index_entry_of_a_sku_that_is_gone(warehouse: Warehouse) -> None:
    """An entry of the shard's index without its sku, left by damage, does not stop the sweep of the others."""
    await warehouse.stock("A", 9)
    await warehouse.hold(wish("A", 2), ttl_ms=100)
    await warehouse.call("ZADD", warehouse.keys.due, 5, "main/ghost")
    await warehouse.advance(100)

    answer = await warehouse.run(warehouse.expire())

    assert answer.fields[0] == "1"
    assert await warehouse.content(warehouse.keys.due) == "none"


async def test_expire_clears_an_index_entry_of_an_ended_hold(warehouse: Warehouse) -> None:
    """An entry of a reservation that is not held, left by damage, is dropped and frees nothing."""
    await warehouse.stock("A", 9)
    sold = await warehouse.sell(wish("A", 2))
    await warehouse.hold(wish("A", 1), ttl_ms=100)
    await warehouse.call("ZADD", warehouse.keys.holds("main", "A"), START_MS + 50, sold.id.random_part)
    await warehouse.advance(100)

    answer = await warehouse.run(warehouse.expire())

    assert answer.fields[0] == "1"
    assert await warehouse.counters("A") == (9, 0, 2)


async def test_expire_asks_for_a_hold_that_is_gone(warehouse: Warehouse) -> None:
    """An index entry whose reservation is missing is NOT_LOADED by name: nothing is taken back on a guess."""
    await warehouse.stock("A", 9)
    r = await warehouse.hold(wish("A", 2), ttl_ms=100)
    key = warehouse.keys.reservation(r.id.random_part)
    packed = await warehouse.call("GET", key)
    await warehouse.call("DEL", key)
    await warehouse.advance(100)
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.expire())
    unchanged = await warehouse.snapshot() == before
    await warehouse.install(f"r:{r.id.random_part}", [packed])
    again = await warehouse.run(warehouse.expire())

    assert (answer.status, answer.fields, unchanged) == ("NOT_LOADED", [f"r:{r.id.random_part}"], True)
    assert again.fields[0] == "1"


async def test_expire_passes_over_a_hold_that_is_nowhere(warehouse: Warehouse) -> None:
    """Told which holds nobody knows, the sweep takes back all others, and leaves those entries as they are."""
    await warehouse.stock("A", 9)
    await warehouse.stock("B", 9)
    lost = await warehouse.hold(wish("A", 2), ttl_ms=50)
    await warehouse.hold(wish("A", 1), ttl_ms=100)
    await warehouse.hold(wish("B", 1), ttl_ms=100)
    part = lost.id.random_part
    await warehouse.call("DEL", warehouse.keys.reservation(part))
    await warehouse.advance(100)
    warehouse.is_damaged = True

    asked = await warehouse.run(warehouse.expire())
    answer = await warehouse.run(warehouse.expire(64, part))

    assert (asked.status, asked.fields) == ("NOT_LOADED", [f"r:{part}"])
    assert (answer.status, answer.fields) == ("SWEPT", ["2", "0", str(START_MS + 50)])
    assert await warehouse.content(warehouse.keys.holds("main", "A")) == {part: START_MS + 50}
    assert (await warehouse.call("HGET", warehouse.keys.sku("main", "A"), "Lmain")).split(" ")[:2] == ["9", "2"]


async def test_expire_gets_past_many_skus_of_a_hold_that_is_nowhere(warehouse: Warehouse) -> None:
    """One lost hold over more skus than a call looks at does not keep the sweep from those behind them."""
    skus = [f"S{n:02d}" for n in range(20)]
    for sku in [*skus, "Z"]:
        await warehouse.stock(sku, 9)
    lost = await warehouse.hold(*[wish(sku, 1) for sku in skus], ttl_ms=50)
    await warehouse.hold(wish("Z", 1), ttl_ms=100)
    await warehouse.call("DEL", warehouse.keys.reservation(lost.id.random_part))
    await warehouse.advance(100)
    warehouse.is_damaged = True

    answer = await warehouse.run(warehouse.expire(4, lost.id.random_part))

    assert answer.fields[0] == "1"
    assert await warehouse.counters("Z") == (9, 0, 0)


async def test_expire_of_no_holds_ends_also_where_some_are_passed_over(warehouse: Warehouse) -> None:
    """A bound of nothing takes nothing back, and does not look for more of it for ever."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 1), ttl_ms=1000)
    await warehouse.advance(1700)

    answer = await warehouse.run(warehouse.expire(0, r.id.random_part))

    assert answer.status == "SWEPT"
    assert answer.fields[0] == "0"
