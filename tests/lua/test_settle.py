"""settle: what the durable store has is dropped from the log, and what is settled gets a life; nothing else ever does."""

from __future__ import annotations

import pytest

from tests.lua.warehouse import DAY_MS, START_MS, Warehouse, told, wish


async def life(warehouse: Warehouse, name: str) -> int:
    """The key's life in ms, -1 = without end."""
    return int(await warehouse.call("PTTL", warehouse.keys.named(name)))


async def test_settle_moves_the_checkpoint_and_trims_to_the_anchor(warehouse: Warehouse) -> None:
    """SETTLED with the entries dropped: the last committed entry stays, so the chain can be verified from it."""
    await warehouse.stock("A", 5)
    await warehouse.hold(wish("A", 1))
    await warehouse.hold(wish("A", 1))

    answer = await warehouse.settle("s:main/A", committed=3)

    log = await warehouse.content(warehouse.keys.log)
    assert (answer.status, answer.fields, answer.checkpoint) == ("SETTLED", ["2"], 3)
    assert [entry[0] for entry in log] == ["3-0", "4-0"]
    assert (await warehouse.content(warehouse.keys.meta))["checkpoint"] == "3"


async def test_settle_never_goes_back(warehouse: Warehouse) -> None:
    """An older checkpoint, as a slow second flusher tells it, moves nothing back."""
    await warehouse.stock("A", 5)
    await warehouse.settle("s:main/A")
    before = await warehouse.snapshot()

    answer = await warehouse.settle("s:main/A", committed=1)

    assert answer.fields == ["0"]
    assert await warehouse.snapshot() == before


async def test_settle_in_the_middle_of_an_entry_keeps_the_entry(warehouse: Warehouse) -> None:
    """A batch is one entry: while its last event is not committed, it stays."""
    await warehouse.stock("A", 5)
    await warehouse.batch(warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1)))

    await warehouse.settle("s:main/A", committed=3)

    assert [entry[0] for entry in await warehouse.content(warehouse.keys.log)] == ["4-0"]


async def test_settle_gives_an_idle_level_a_life(warehouse: Warehouse) -> None:
    """A flushed level with nothing held gets idle_ttl; sold units do not keep it, held ones do."""
    await warehouse.stock("A", 5)
    await warehouse.stock("B", 5)
    await warehouse.sell(wish("A", 2))
    await warehouse.hold(wish("B", 2))

    await warehouse.settle(idle_ms=500_000)

    assert 0 < await life(warehouse, "s:main/A") <= 500_000
    assert await life(warehouse, "s:main/B") == -1
    assert await life(warehouse, "d:main/B") == -1


async def test_settle_leaves_what_is_not_committed(warehouse: Warehouse) -> None:
    """A level, a pause, a reservation and a record changed after the checkpoint get none."""
    for sku in "ABC":
        await warehouse.stock(sku, 5)
    seq = (await warehouse.remember())[-1].seq
    gone = await warehouse.hold(wish("A", 1), key="k1")
    await warehouse.run(warehouse.release(gone))
    await warehouse.run(warehouse.pause("B"))
    await warehouse.run(warehouse.adjust("C", 1, key="k2"))

    await warehouse.settle(committed=seq)

    names = ("s:main/A", "s:main/B", "s:main/C", f"r:{gone.id.random_part}", "q:k1", "q:k2")
    assert [await life(warehouse, name) for name in names] == [-1] * 6


@pytest.mark.parametrize("state", ["held", "confirmed", "fulfilled", "released", "expired"])
async def test_settle_reservations_and_their_records(warehouse: Warehouse, state: str) -> None:
    """A held one gets no life; a confirmed one ended_ttl but its record none; an ended one, and its record from its end on."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), key="k1", ttl_ms=1_000_000)
    if state in ("confirmed", "fulfilled"):
        await warehouse.run(warehouse.confirm(r, fulfil=state == "fulfilled"))
    elif state == "released":
        await warehouse.run(warehouse.release(r))
    if state == "expired":
        await warehouse.advance(1_000_000)
        await warehouse.run(warehouse.expire())
        await warehouse.advance(4_000_000)  # settled 4,000 s after its end
    else:
        await warehouse.advance(400_000)

    # Lives go by the real clock of the server: a minute is what a test may take.
    await warehouse.settle(f"r:{r.id.random_part}", ended_ms=7_000_000, retention_ms=60_000_000)

    reservation, record = await life(warehouse, f"r:{r.id.random_part}"), await life(warehouse, "q:k1")
    if state == "held":
        assert (reservation, record) == (-1, -1)
        return
    assert 6_940_000 < reservation <= 7_000_000
    if state == "confirmed":
        assert record == -1
    else:
        left = 60_000_000 - (4_000_000 if state == "expired" else 400_000)
        assert left - 60_000 < record <= left


async def test_settle_a_record_whose_retention_is_over_goes_at_once(warehouse: Warehouse) -> None:
    """Settled later than the retention after its end, a record has a millisecond left, never an invalid life."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), key="k1")
    await warehouse.run(warehouse.release(r))
    await warehouse.advance(DAY_MS)

    answer = await warehouse.settle(f"r:{r.id.random_part}", retention_ms=1000)

    assert answer.status == "SETTLED"
    assert await life(warehouse, "q:k1") in (-2, 0, 1)


async def test_settle_adjustment_records_count_from_their_commit_once(warehouse: Warehouse) -> None:
    """An adjustment's record gets the retention when settled; settling again does not lengthen it."""
    await warehouse.stock("A", 5)
    await warehouse.run(warehouse.adjust("A", 1, key="k1"))
    await warehouse.settle("q:k1", retention_ms=60_000)

    await warehouse.settle("q:k1", retention_ms=900_000)

    assert 0 < await life(warehouse, "q:k1") <= 60_000


async def test_settle_a_reservations_record_waits_for_it(warehouse: Warehouse) -> None:
    """A record named by itself that belongs to an open reservation gets no life."""
    await warehouse.stock("A", 5)
    await warehouse.hold(wish("A", 1), key="k1")

    await warehouse.settle("q:k1")

    assert await life(warehouse, "q:k1") == -1


@pytest.mark.parametrize("touch", ["put", "adjust", "pause", "reserve", "release", "fulfil", "reflects"])
async def test_touch_takes_the_life_away_again(warehouse: Warehouse, touch: str) -> None:
    """Every change of a settled level or reservation persists it: a dirty key never dies."""
    await warehouse.stock("A", 5)
    r = await warehouse.sell(wish("A", 2))
    await warehouse.settle()
    lives = [await life(warehouse, name) for name in ("s:main/A", f"r:{r.id.random_part}")]
    call = {
        "put": warehouse.put("A", on_hand=9),
        "adjust": warehouse.adjust("A", 1),
        "pause": warehouse.pause("A"),
        "reserve": warehouse.reserve(wish("A", 1)),
        "release": warehouse.release(r),
        "fulfil": warehouse.fulfil(r),
        "reflects": warehouse.put("A", on_hand=3, reflects=[r.id]),
    }[touch]

    await warehouse.run(call)

    assert all(ms > 0 for ms in lives)
    assert await life(warehouse, "s:main/A") == -1
    if touch in ("release", "fulfil", "reflects"):
        assert await life(warehouse, f"r:{r.id.random_part}") == -1


async def test_settle_again_after_a_touch_gives_a_new_life(warehouse: Warehouse) -> None:
    """The life comes back with the next flush, counted from then."""
    await warehouse.stock("A", 5)
    await warehouse.settle(idle_ms=500_000)
    await warehouse.run(warehouse.put("A", on_hand=9))

    await warehouse.settle(idle_ms=900_000)

    assert 500_000 < await life(warehouse, "s:main/A") <= 900_000


async def test_settle_names_that_are_gone_are_passed_over(warehouse: Warehouse) -> None:
    """What was evicted meanwhile is no error."""
    answer = await warehouse.settle("s:main/ghost", "r:ghost", "q:ghost", "s:main/100%/é{x}")

    assert answer.status == "SETTLED"


async def test_settle_expired_reservation_that_was_taken_again(warehouse: Warehouse) -> None:
    """Between its expiry and its reacquire a reservation is settled as an ended one, after it as a sale."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=10)
    await warehouse.advance(10)
    await warehouse.run(warehouse.expire())
    await warehouse.settle(ended_ms=500_000)
    taken = told(await warehouse.run(warehouse.confirm(r, reacquire=True)))
    alive = await life(warehouse, f"r:{r.id.random_part}")

    await warehouse.settle(ended_ms=900_000)

    assert (taken.state, alive) == ("confirmed", -1)
    assert 500_000 < await life(warehouse, f"r:{r.id.random_part}") <= 900_000
    assert warehouse.now_ms == START_MS + 10
