"""Reservations as they are read back: what is live, and every search."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from itertools import product

from gateway.domain.reservation import Line, State
from gateway.durable.ledger import Ledger, ReservationQuery
from tests.contract.batches import NOW_MS, Hold, add, opened, stored

STATES: tuple[State, ...] = ("held", "confirmed", "fulfilled", "released", "expired")


async def test_read_reservation_that_does_not_exist_is_none(ledger: Ledger) -> None:
    """An id that was never stored has no text."""
    assert await ledger.read_reservation("x" * 16) is None


async def test_open_holds_are_those_stored_as_held_in_pages(ledger: Ledger) -> None:
    """Every hold once, also past its deadline and of every shop; no sale, nothing that ended, and not another shard's."""
    holds = [
        Hold(created_seq=seq, seq=seq, state=STATES[seq % 5], shop=f"shop-{seq % 3}", deadline_ms=NOW_MS - 1)
        for seq in range(1, 71)
    ]
    await stored(ledger, await opened(ledger), *holds)
    await stored(ledger, await opened(ledger, shard=1), Hold())

    pages = [page async for page in ledger.open_holds(0, 6)]

    held = [hold for hold in holds if hold.state == "held"]
    assert [len(page) for page in pages] == [6, 6, 2]
    assert sorted(pair for page in pages for pair in page) == sorted((one.random_part, one.packed()) for one in held)


async def test_live_before_an_epoch_is_what_was_created_before_and_has_not_ended(ledger: Ledger) -> None:
    """A hold or a sale of the shard, and of an earlier epoch; what ended is none, nor what was created later."""
    log = await opened(ledger)
    batch = log.next(len(STATES))
    numbered = enumerate(STATES, start=batch.first_seq)
    holds = {state: Hold(created_seq=seq, seq=seq, state=state) for seq, state in numbered}
    for state in ("fulfilled", "released", "expired"):
        await stored(ledger, await opened(ledger, shard=1), holds[state])
    assert not await ledger.has_live_before(1, log.epoch + 1)

    await stored(ledger, log, holds["confirmed"])

    assert await ledger.has_live_before(0, log.epoch + 1)
    assert not await ledger.has_live_before(0, log.epoch)
    assert not await ledger.has_live_before(1, log.epoch + 1)


async def test_open_holds_are_of_one_moment(ledger: Ledger) -> None:
    """What is stored or ends while the pages are read neither appears nor vanishes."""
    holds = [Hold(created_seq=seq, seq=seq) for seq in range(1, 31)]
    log = await stored(ledger, await opened(ledger), *holds)
    found: list[str] = []

    async with aclosing(ledger.open_holds(0, 10)) as pages:
        async for page in pages:
            found += [random_part for random_part, _ in page]
            batch = log.next()
            ended = Hold(holds[-1].random_part, state="released", created_seq=30, seq=batch.last_seq)
            add(batch, ended, Hold(created_seq=batch.last_seq, seq=batch.last_seq))
            assert await ledger.append(batch)
            log = log.moved_past(batch)

    assert sorted(found) == sorted(hold.random_part for hold in holds)


async def test_open_holds_left_early_give_the_connection_back(ledger: Ledger) -> None:
    """Readers that stop after a page, more of them than connections, leave the ledger usable."""
    await stored(ledger, await opened(ledger), *(Hold(created_seq=seq, seq=seq) for seq in range(1, 10)))

    for _ in range(6):
        async with aclosing(ledger.open_holds(0, 2)) as pages:
            assert len(await anext(pages)) == 2

    await asyncio.gather(*(ledger.ping() for _ in range(8)))


def chosen(chance: random.Random, count: int) -> list[Hold]:
    """Reservations of two shops that collide in every field that a search knows, also in the millisecond."""
    holds = []
    for seq in range(1, count + 1):
        skus = chance.sample(["tee", "mug", "cap"], chance.choice([1, 1, 2, 3]))
        holds.append(
            Hold(
                created_seq=seq,
                seq=seq,
                shop=chance.choice(["main", "main", "other"]),
                state=chance.choice(STATES),
                reference=chance.choice(["", "cart-1", "cart-2"]),
                customer=chance.choice(["", "kim", "lee"]),
                created_ms=NOW_MS + chance.randrange(count // 4),
                deadline_ms=NOW_MS + chance.choice([-1, 0, 1]),
                lines=[Line(sku, place, 1) for sku in skus for place in ("main", "east")],
            )
        )
    return holds


def matches(hold: Hold, query: ReservationQuery) -> bool:
    """What a search means, said without SQL."""
    state = hold.state
    if state == "held" and hold.deadline_ms <= query.now_ms:
        state = "expired"
    return (
        hold.shop == query.shop
        and query.reference in {None, hold.reference}
        and query.customer in {None, hold.customer}
        and (query.sku is None or query.sku in {line.sku for line in hold.lines})
        and query.state in {None, state}
    )


async def test_search_every_combination_of_filters_in_pages(ledger: Ledger) -> None:
    """Each search gives exactly what matches, newest first, once, whatever the page size cuts."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    holds = chosen(chance, 160)
    await stored(ledger, await opened(ledger), *holds)
    filters = product((None, "cart-1"), (None, "kim"), (None, "tee", "cap"), (None, *STATES))

    for reference, customer, sku, state in filters:
        found: list[tuple[str, str]] = []
        before: tuple[int, str] | None = None
        limit = chance.randrange(3, 30)
        while True:
            query = ReservationQuery("main", reference, customer, sku, state, NOW_MS, limit, before)
            page = await ledger.search_reservations(query)
            found += page
            if len(page) < limit:
                break
            last = next(hold for hold in holds if hold.random_part == page[-1][0])
            before = (last.created_ms, last.random_part)

        expected = sorted(
            (hold for hold in holds if matches(hold, query)),
            key=lambda hold: (hold.created_ms, hold.random_part),
            reverse=True,
        )
        assert found == [(hold.random_part, hold.packed()) for hold in expected], query


async def test_search_follows_a_reservation_through_its_states(ledger: Ledger) -> None:
    """A reservation is found by its newest state and no longer by an older one."""
    hold = Hold(reference="cart-9")
    log = await stored(ledger, await opened(ledger), hold)

    async def found_as(now_ms: int) -> list[str]:
        states: list[str] = []
        for state in STATES:
            query = ReservationQuery("main", "cart-9", None, None, state, now_ms, 10, None)
            states += [state] if await ledger.search_reservations(query) else []
        return states

    assert await found_as(hold.deadline_ms - 1) == ["held"]
    assert await found_as(hold.deadline_ms) == ["expired"]
    for state in ("confirmed", "fulfilled"):
        log = await stored(ledger, log, Hold(hold.random_part, state, reference="cart-9", seq=log.seq + 1))
        assert await found_as(hold.deadline_ms) == [state]


async def test_search_empty_reference_finds_nothing(ledger: Ledger) -> None:
    """A reservation without a reference has none to be found by."""
    await stored(ledger, await opened(ledger), Hold(reference="", customer=""))

    assert await ledger.search_reservations(ReservationQuery("main", "", None, None, None, NOW_MS, 9, None)) == []
    assert await ledger.search_reservations(ReservationQuery("main", None, "", None, None, NOW_MS, 9, None)) == []
