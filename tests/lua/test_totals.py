"""Running totals: every script moves them by what it did, and every thousandth event tells them."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable

import pytest

from gateway.domain.event import CHECKPOINT, Event
from gateway.domain.reservation import Reservation, parse_reservation
from gateway.domain.stock import parse_level
from gateway.domain.totals import Totals, parse_totals
from tests.lua.warehouse import Call, Warehouse, told, wish

SKUS = ("A", "B", "C")
LOCATIONS = ("main", "east")


async def summed(warehouse: Warehouse) -> Totals:
    """What the level hashes in Redis add up to."""
    levels = []
    for key in await warehouse.all_keys():
        if key.startswith(f"{warehouse.keys.base}s:"):
            fields = await warehouse.content(key)
            levels += [parse_level(name[1:], text) for name, text in fields.items() if name.startswith("L")]
    return Totals(*[sum(getattr(level, name) for level in levels) for name in Totals._fields])


async def fill(warehouse: Warehouse, last_seq: int) -> None:
    """The history ends at this seq, by changes of a sku of their own that come to nothing."""
    await warehouse.stock("F", 0)
    missing = last_seq - (await warehouse.remember())[-1].seq
    await warehouse.batch(*[warehouse.adjust("F", 1 - 2 * (number % 2)) for number in range(missing // 2 * 2)])
    if missing % 2:
        await warehouse.run(warehouse.pause("F"))
    assert (await warehouse.remember())[-1].seq == last_seq


def checkpoints(events: list[Event]) -> list[tuple[int, Totals]]:
    """The seqs of the checkpoint events, and what they tell."""
    return [(event.seq, parse_totals(" ".join(event.facts[0][1:]))) for event in events if event.type == CHECKPOINT]


class Shopper:
    """Random calls of every kind on few skus."""

    def __init__(self, warehouse: Warehouse, rng: random.Random) -> None:
        self.warehouse, self.rng = warehouse, rng
        self.made: list[Reservation] = []

    def any_call(self) -> Call:
        """One operation."""
        warehouse, rng, sku = self.warehouse, self.rng, self.rng.choice(SKUS)
        kinds: list[Callable[[], Call]] = [
            self.reserve,
            lambda: warehouse.as_group(self.reserve(), self.reserve(), self.reserve()),
            lambda: warehouse.as_batch(self.reserve(), warehouse.adjust(sku, 2), self.reserve()),
            lambda: warehouse.adjust(sku, rng.choice([-3, 5])),
            lambda: warehouse.put(sku, rng.choice(LOCATIONS), rng.choice([None, 9, 20]), deduction=rng.randrange(3)),
            lambda: warehouse.pause(sku, rng.random() < 0.3),
            warehouse.expire,
        ]
        if self.made:
            r = rng.choice(self.made)
            kinds += [
                lambda: warehouse.extend(r, ttl_seconds=60),
                lambda: warehouse.confirm(r, fulfil=rng.random() < 0.5, reacquire=rng.random() < 0.5),
                lambda: warehouse.confirm(r),
                lambda: warehouse.fulfil(r),
                lambda: warehouse.release(r),
                lambda: warehouse.put(r.lines[0].sku, r.lines[0].location, 15, reflects=[r.id]),
            ]
        return rng.choice(kinds)()

    def reserve(self) -> Call:
        """A hold of one or two skus, of as much as there is."""
        wishes = [wish(sku, self.rng.randint(1, 4)) for sku in self.rng.sample(SKUS, self.rng.randint(1, 2))]
        return self.warehouse.reserve(*wishes, ttl_ms=self.rng.choice([50, 60_000]), partial=True)

    async def step(self) -> str:
        """One call, repeated until nothing due stands in its way; returns its status."""
        call = self.any_call()
        while (answer := await self.warehouse.run(call)).status == "MORE_DUE":
            pass
        results = [[answer.status, *answer.fields]] if answer.status not in ("BATCH", "GROUP") else answer.nested()
        self.made += [parse_reservation(0, result[1], result[2]) for result in results if result[0] == "RESERVED"]
        if self.rng.random() < 0.2:
            await self.warehouse.advance(30)
        return answer.status


async def test_totals_follow_every_script(warehouse: Warehouse) -> None:
    """After each of hundreds of random calls meta counts what the level hashes add up to, and every call has moved it."""
    seed = secrets.randbits(32)
    print("seed", seed)
    shopper = Shopper(warehouse, random.Random(seed))
    for sku in SKUS:
        await warehouse.stock(sku, 30)
    seen = set()

    for number in range(300):
        status = await shopper.step()
        seen.add(status)
        assert await warehouse.totals() == await summed(warehouse), (number, status)

    assert {"RESERVED", "CONFIRMED", "RELEASED", "APPLIED", "ADJUSTED", "SWEPT", "BATCH", "GROUP"} <= seen


async def test_totals_of_a_loaded_and_an_evicted_level_stay(warehouse: Warehouse) -> None:
    """Levels come and go between the stores without being counted: only what changes them is."""
    await warehouse.stock("A", 7)
    content = await warehouse.content(warehouse.keys.sku("main", "A"))
    await warehouse.call("DEL", warehouse.keys.sku("main", "A"))
    assert await warehouse.totals() == Totals(on_hand=7)

    assert await warehouse.install("s:main/A", [text for pair in content.items() for text in pair]) == "LOADED"
    await warehouse.hold(wish("A", 2))

    assert await warehouse.totals() == Totals(held=2, on_hand=7)


@pytest.mark.parametrize("place", range(4))
async def test_totals_do_not_follow_a_hand_that_changed_a_level(warehouse: Warehouse, place: int) -> None:
    """A counter that was changed by hand goes on from there, the totals do not: at the next change they differ by what the hand did."""
    warehouse.is_damaged = True
    await warehouse.stock("A", 7)
    key = warehouse.keys.sku("main", "A")
    numbers = (await warehouse.call("HGET", key, "Lmain")).split(" ")
    numbers[place] = str(int(numbers[place]) + 1)
    await warehouse.call("HSET", key, "Lmain", " ".join(numbers))

    await warehouse.hold(wish("A", 2))

    on_hand, held, committed, deducted = (int(place == at) for at in range(4))
    assert (await summed(warehouse)).against(await warehouse.totals()) == [
        (name, ours + extra, ours)
        for name, ours, extra in zip(
            Totals._fields, Totals(2, 7, 0, 0), (held, on_hand, committed, deducted), strict=True
        )
        if extra
    ]


async def test_checkpoint_ends_the_entry_that_reaches_the_thousandth_seq(warehouse: Warehouse) -> None:
    """The event of the multiple and the one that tells the totals after it are one entry; the calls around have none."""
    await warehouse.stock("A", 10)
    await fill(warehouse, 999)
    entries = len(await warehouse.content(warehouse.keys.log))
    assert checkpoints(await warehouse.remember()) == []

    held = await warehouse.hold(wish("A", 4))
    await warehouse.run(warehouse.confirm(held))

    events = await warehouse.remember()
    assert held.seq == 1000
    assert [event.seq for event in events[-3:]] == [1000, 1001, 1002]
    assert checkpoints(events) == [(1001, Totals(held=4, on_hand=10))]
    assert (events[-2].shop, events[-2].actor) == ("", "gateway")
    assert len(await warehouse.content(warehouse.keys.log)) == entries + 2


async def test_checkpoint_comes_once_for_a_call_that_crosses_two(warehouse: Warehouse) -> None:
    """A batch from 990 to 2000 tells once, after all it did; the next call, which begins behind a multiple, tells nothing."""
    await warehouse.stock("A", 10)
    await fill(warehouse, 989)
    await warehouse.batch(*[warehouse.adjust("A", 1) for _ in range(1010)])
    assert checkpoints(await warehouse.remember()) == [(2000, Totals(on_hand=1020))]

    await warehouse.run(warehouse.adjust("A", 1))

    assert (await warehouse.remember())[-1].seq == 2001
    assert len(checkpoints(await warehouse.remember())) == 1


async def test_checkpoint_of_a_sweep_tells_what_it_gave_back(warehouse: Warehouse) -> None:
    """Holds that expire cross a multiple like anything else, and what came back is in the totals."""
    await warehouse.stock("A", 10)
    await fill(warehouse, 995)
    await warehouse.batch(*[warehouse.reserve(wish("A", 1), ttl_ms=10 + number) for number in range(4)])
    await warehouse.advance(12)

    answer = await warehouse.run(warehouse.expire())

    assert (answer.status, answer.fields[0]) == ("SWEPT", "3")
    assert checkpoints(await warehouse.remember()) == [(1003, Totals(held=1, on_hand=10))]


async def taken_away(warehouse: Warehouse) -> None:
    """Somebody removed them."""
    await warehouse.call("HDEL", warehouse.keys.meta, "totals")


async def unreadable(warehouse: Warehouse) -> None:
    """Somebody wrote what no script writes."""
    await warehouse.call("HSET", warehouse.keys.meta, "totals", "1 2 3")


@pytest.mark.parametrize("damage", [taken_away, unreadable])
async def test_totals_that_are_no_totals_close_the_shard(
    warehouse: Warehouse, damage: Callable[[Warehouse], Awaitable[None]]
) -> None:
    """A change finds nothing to move, so nothing is changed: whoever opens the shard again brings the totals."""
    warehouse.is_damaged = True
    await warehouse.stock("A", 10)
    before = await warehouse.totals()
    await damage(warehouse)
    snapshot = await warehouse.snapshot()

    reply = await warehouse.raw(warehouse.reserve(wish("A", 1)))

    assert reply[1] == "CLOSED"
    assert await warehouse.snapshot() == snapshot
    await warehouse.call("HSET", warehouse.keys.meta, "totals", before.pack())
    assert told(await warehouse.run(warehouse.reserve(wish("A", 1)))).state == "held"
    assert await warehouse.totals() == Totals(held=1, on_hand=10)


async def test_totals_are_those_that_the_opening_brings(warehouse: Warehouse) -> None:
    """A shard that goes on under a new epoch counts from what its opener gave, also below nothing."""
    warehouse.is_damaged = True
    await warehouse.stock("A", 10)
    await warehouse.remember()
    digest = (await warehouse.content(warehouse.keys.meta))["digest"]

    await warehouse.open_epoch(2, seen=(1, digest), seq=2, how="adopted", totals=Totals(5, -3, 10**15, 2))
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)
    await warehouse.hold(wish("A", 1))

    assert await warehouse.totals() == Totals(6, -3, 10**15, 2)
