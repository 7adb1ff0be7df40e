"""Invariant 8 in the conservation check: a life that breaks a law is named, whichever store or event tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.event import parse_events
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_lives import Lives, Told, told_by
from tests.contract.sql import run_sql
from tests.service.damage import part_of, plant_event
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

PART = "AAAAAAAAAAAAAAAA"
WHERE = f"rsv_0-1-1-{PART}"


def step(
    type: str, state: str, *levels: str, lines: str = "tee 2 0", reason: str = ""
) -> tuple[str, str, str, str, tuple[str, ...]]:
    """What an event says: the reservation's state and lines (sku quantity settled) after it, and "sku on_hand held committed"."""
    return type, state, lines, reason, levels


def payload(seq: int, type: str, state: str, lines: str, reason: str, levels: tuple[str, ...]) -> str:
    rows = [f"E\t{seq}\t1\tstock.{type}\t9\tmain\tkey:test\t\t{reason}\t"]
    rows.append(f"R\t{PART}\t{state}\t99\t1\t{seq}\t1\t1\t9\t\t\tmain\tcart\t\t\t\t")
    for line in lines.split(", "):
        sku, quantity, settled = line.split(" ")
        rows.append(f"I\t{sku}\tmain\t{quantity}\t{settled}")
    for level in levels:
        sku, *deltas = level.split(" ")
        rows.append("\t".join(["L", sku, "main", *"123456", *deltas, "0", "0"]))
    return "\n".join(rows)


RESERVE = step("reserved", "h", "tee 0 2 0")
CONFIRM = step("confirmed", "c", "tee 0 -2 2")
EXPIRE = step("expired", "e", "tee 0 -2 0")
RELEASE = step("released", "r", "tee 0 -2 0")
SHIP = step("shipped", "f", "tee -2 0 -2")
REACQUIRE = step("confirmed", "c", "tee 0 0 2", reason="reacquired")
TWO = "tee 2 0, mug 1 0"
HALF, WHOLE = "tee 2 1, mug 1 0", "tee 2 1, mug 1 1"
RESERVE_TWO = step("reserved", "h", "tee 0 2 0", "mug 0 1 0", lines=TWO)
CONFIRM_TWO = step("confirmed", "c", "tee 0 -2 2", "mug 0 -1 1", lines=TWO)
REFLECT_HALF = step("shipped", "c", "tee 0 0 -2", lines=HALF, reason="reflected")


async def followed(*steps: tuple[str, str, str, str, tuple[str, ...]]) -> list[str]:
    """What is found in this life: "kind detail"."""
    findings, told_so_far = Findings(), dict[int, str]()

    async def former(told: Told, seq: int) -> str | None:
        return told_so_far.get(max((one for one in told_so_far if one < seq), default=0))

    lives = Lives(0, findings, former)
    for seq, one in enumerate(steps, 1):
        (event,) = parse_events(payload(seq, *one))
        told = told_by(event)
        assert told is not None
        await lives.follow(event, told)
        told_so_far[seq] = told.text
    assert {one["where"] for one in findings.violations} <= {WHERE}
    assert {one["invariant"] for one in findings.violations} <= {8}
    return [f"{one['kind']} {one['detail']}" for one in findings.violations]


@pytest.mark.parametrize(
    "life",
    [
        [RESERVE],
        [RESERVE, step("extended", "h"), CONFIRM, SHIP],
        [RESERVE, RELEASE],
        [RESERVE, CONFIRM, step("released", "r", "tee 0 0 -2")],
        [RESERVE, EXPIRE, REACQUIRE, SHIP],
        [RESERVE_TWO, CONFIRM_TWO, REFLECT_HALF, step("shipped", "f", "mug -1 0 -1", lines=HALF)],
        [RESERVE_TWO, CONFIRM_TWO, REFLECT_HALF, step("released", "r", "mug 0 0 -1", lines=HALF)],
        [RESERVE_TWO, CONFIRM_TWO, REFLECT_HALF, step("shipped", "f", "mug 0 0 -1", lines=WHOLE, reason="reflected")],
    ],
    ids=str,
)
async def test_lives_that_scripts_lead_break_no_law(life: list[tuple[str, str, str, str, tuple[str, ...]]]) -> None:
    """Every way from a reserve to an end, also by a reacquire and by counts that reflect a sale."""
    assert await followed(*life) == []


@pytest.mark.parametrize(
    ("life", "found"),
    [
        ([CONFIRM], "birth event 1 is stock.confirmed, and the life had not begun"),
        ([RESERVE, RESERVE], "birth event 2 is stock.reserved, and it was held already"),
        ([RESERVE, RELEASE, RELEASE], "move event 3 (stock.released) leads from released to released"),
        ([RESERVE, RELEASE, EXPIRE], "move event 3 (stock.expired) leads from released to expired"),
        (
            [RESERVE, EXPIRE, step("confirmed", "c", "tee 0 0 2")],
            "move event 3 (stock.confirmed) leads from expired to confirmed",
        ),
        ([RESERVE, RELEASE, REACQUIRE], "move event 3 (stock.confirmed) leads from released to confirmed"),
        (
            [RESERVE, CONFIRM, SHIP, step("released", "r")],
            "move event 4 (stock.released) leads from fulfilled to released",
        ),
        ([RESERVE, SHIP], "move event 2 (stock.shipped) leads from held to fulfilled"),
        ([RESERVE, step("extended", "r", "tee 0 -2 0")], "move event 2 (stock.extended) leads to released"),
        ([step("reserved", "h")], "units event 1 moves nothing, its lines tee/main held +2"),
        (
            [RESERVE, step("released", "r", "tee 0 -1 0")],
            "units event 2 moves tee/main held -1, its lines tee/main held -2",
        ),
        (
            [RESERVE, CONFIRM, step("released", "r", "tee 0 -2 0")],
            "units event 3 moves tee/main held -2, its lines tee/main committed -2",
        ),
        (
            [RESERVE, step("released", "r", "tee 0 -2 0", "mug 1 0 0")],
            "units event 2 moves mug/main on_hand +1; tee/main held -2, its lines tee/main held -2",
        ),
        ([RESERVE, step("confirmed", "c", "tee 0 -2 2", lines="tee 3 0")], "units event 2 changes the lines"),
        ([RESERVE, step("confirmed", "c", "tee 0 -2 2", lines="tee 2 1")], "units event 2 changes the lines"),
        (
            [RESERVE_TWO, CONFIRM_TWO, REFLECT_HALF, step("shipped", "f", "tee -2 0 -2", "mug -1 0 -1", lines=HALF)],
            "units event 4 moves mug/main on_hand -1, committed -1; tee/main on_hand -2, committed -2, "
            "its lines mug/main on_hand -1, committed -1",
        ),
    ],
    ids=str,
)
async def test_lives_that_break_a_law_are_named(
    life: list[tuple[str, str, str, str, tuple[str, ...]]], found: str
) -> None:
    """The one event that breaks it, what it does and what it should."""
    assert await followed(*life) == [found]


async def test_lives_keep_nothing_of_what_has_ended() -> None:
    """Memory is that of the open reservations: what ended is handed over and forgotten."""
    findings = Findings()

    async def former(told: Told, seq: int) -> str | None:
        raise AssertionError("nothing is looked up of an open life")

    lives = Lives(0, findings, former)
    for seq, one in enumerate((RESERVE, CONFIRM, SHIP), 1):
        (event,) = parse_events(payload(seq, *one))
        told = told_by(event)
        assert told is not None
        await lives.follow(event, told)
        assert len(lives.open) == (one is not SHIP)
    assert list(lives.ended) == [PART]


@pytest.fixture
async def traded(each_database: Stores) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway with a life of each kind behind it, and where its durable store is."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 20)
        await gateway.put("mug", 20)
        await gateway.reserve(("tee", 2), ("mug", 1))
        await gateway.confirm(await gateway.reserve(("tee", 3)))
        await gateway.fulfil(await gateway.confirm(await gateway.reserve(("mug", 1))))
        await gateway.release(await gateway.reserve(("tee", 1)))
        reflected = await gateway.confirm(await gateway.reserve(("tee", 1), ("mug", 2)))
        await gateway.put("tee", 19, sequence=2, reflects=(str(reflected.reservation.id),))
        expiring = await gateway.reserve(("mug", 2), ttl_seconds=1)
        await gateway.advance(1000)
        await gateway.sweep()
        await gateway.confirm(expiring, reacquire=True)
        await gateway.flush()
        assert await gateway.violations() == []
        yield gateway, each_database.database_url


async def one_row(url: str, state: str) -> tuple[str, str]:
    """(random part, packed) of a reservation in this state."""
    rows = await run_sql(url, f"SELECT id, packed FROM reservations WHERE state = '{state}' ORDER BY id")
    return rows[0][0], rows[0][1]


def public(part: str, packed: str) -> str:
    fields = packed.split("\t")
    return f"rsv_0-{fields[4]}-{fields[5]}-{part}"


@pytest.mark.parametrize("state", ["confirmed", "fulfilled", "released"])
async def test_conservation_finds_a_row_in_another_state_than_its_last_event(
    traded: tuple[Gateway, str], state: str
) -> None:
    """The state that searches go by, changed beside its text, is found at that reservation, and with it the sums that it is in."""
    gateway, url = traded
    part, packed = await one_row(url, state)
    await run_sql(url, f"UPDATE reservations SET state = 'expired' WHERE id = '{part}'")
    found = await gateway.violations()
    assert [one for one in found if one.startswith("8")] == [f"8 row {public(part, packed)}"]
    assert all(one.startswith("1 committed") for one in found if not one.startswith("8"))
    assert state == "confirmed" or len(found) == 1


@pytest.mark.parametrize("state", ["held", "confirmed", "fulfilled", "released"])
async def test_conservation_finds_a_row_that_is_gone(traded: tuple[Gateway, str], state: str) -> None:
    """A reservation that the log tells of and no row is missed, also when it ended long ago."""
    gateway, url = traded
    part, packed = await one_row(url, state)
    await run_sql(url, f"DELETE FROM reservations WHERE id = '{part}'")
    found = [one for one in await gateway.violations() if not one.startswith("1 ")]
    assert f"8 row {public(part, packed)}" in found
    assert {one.rsplit(" ", 1)[1] for one in found} == {public(part, packed)}


async def test_conservation_finds_a_row_that_no_event_tells(traded: tuple[Gateway, str]) -> None:
    """An ended reservation that never was, and one whose text is another than its last event's."""
    gateway, url = traded
    part, packed = await one_row(url, "fulfilled")
    other = packed.replace("\tcart\t", "\tpayment\t")
    await run_sql(url, f"UPDATE reservations SET packed = '{other}' WHERE id = '{part}'")
    assert await gateway.violations() == [f"8 row {public(part, packed)}"]
    await run_sql(url, f"UPDATE reservations SET packed = '{packed}' WHERE id = '{part}'")
    assert await gateway.violations() == []
    await run_sql(url, f"UPDATE reservations SET id = 'ZZZZ' WHERE id = '{part}'")
    found = await gateway.violations()
    assert {f"8 row {public(part, packed)}", f"8 row {public('ZZZZ', packed)}"} <= set(found)
    assert {one.rsplit(" ", 1)[1] for one in found} == {public(part, packed), public("ZZZZ", packed)}


async def test_conservation_finds_a_row_that_is_behind_a_reacquire(traded: tuple[Gateway, str]) -> None:
    """A row that still says expired, though the log tells that it was taken again, is named."""
    gateway, url = traded
    await gateway.put("hat", 5)
    held = await gateway.reserve(("hat", 1), ttl_seconds=1)
    await gateway.advance(1000)
    await gateway.sweep()
    await gateway.flush()
    part = part_of(held)
    ((state, seq, packed),) = await run_sql(url, f"SELECT state, seq, packed FROM reservations WHERE id = '{part}'")
    await gateway.fulfil(await gateway.confirm(held, reacquire=True))
    await gateway.flush()
    assert await gateway.violations() == []
    await run_sql(
        url, f"UPDATE reservations SET state = '{state}', seq = {seq}, packed = '{packed}' WHERE id = '{part}'"
    )
    assert await gateway.violations() == [f"8 row {held.reservation.id}"]


async def test_conservation_finds_a_double_release(traded: tuple[Gateway, str]) -> None:
    """A second release is named, though every store agrees on it; units that it gave back again are missed as well."""
    gateway, _ = traded
    held = await gateway.release(await gateway.reserve(("tee", 2)))
    text = held.reservation.pack()
    await plant_event(gateway, "stock.released", text, part_of(held))
    await gateway.flush()
    assert await gateway.violations() == [f"8 move {held.reservation.id}"]
    await plant_event(gateway, "stock.released", text, part_of(held), tee=(0, -2, 0))
    await gateway.flush()
    assert await gateway.violations() == ["1 held main/tee/main", *[f"8 move {held.reservation.id}"] * 2]


async def test_conservation_finds_an_expired_hold_that_was_sold_without_a_reacquire(
    traded: tuple[Gateway, str],
) -> None:
    """A sale of an expired hold that does not say that it took the units again breaks the law."""
    gateway, _ = traded
    held = await gateway.reserve(("tee", 2), ttl_seconds=1)
    await gateway.advance(1000)
    await gateway.sweep()
    text = "c" + (await gateway.read(held)).reservation.pack()[1:]
    await plant_event(gateway, "stock.confirmed", text, part_of(held), tee=(0, 0, 2))
    await gateway.flush()
    assert await gateway.violations() == [f"8 move {held.reservation.id}"]


async def test_conservation_finds_units_that_did_not_come_back(traded: tuple[Gateway, str]) -> None:
    """A release that gives back less than was taken is named by its event."""
    gateway, _ = traded
    held = await gateway.reserve(("tee", 2))
    text = "r" + held.reservation.pack()[1:]
    await gateway.redis("ZREM", gateway.shard.keys.holds("main", "tee"), part_of(held))
    await plant_event(gateway, "stock.released", text, part_of(held), tee=(0, -1, 0))
    await gateway.flush()
    assert await gateway.violations() == ["1 held main/tee/main", f"8 units {held.reservation.id}"]


async def test_conservation_finds_an_event_that_changed(traded: tuple[Gateway, str]) -> None:
    """An event rewritten in the store breaks the chain at its seq; one that cannot be read does not end the check."""
    gateway, url = traded
    rows = await gateway.ledger.read_events(0, 0, 100)
    event = next(row for row in rows if row.type == "stock.released")
    payload = event.payload.replace("key:test", "key:else")
    await run_sql(url, f"UPDATE events SET payload = '{payload}' WHERE seq = {event.seq}")
    assert await gateway.violations() == [f"6 digest seq {event.seq}"]
    payload = event.payload.replace("\tr\t", "\tx\t", 1)
    await run_sql(url, f"UPDATE events SET payload = '{payload}' WHERE seq = {event.seq}")
    assert {f"6 digest seq {event.seq}", f"6 entry seq {event.seq}"} <= set(await gateway.violations())


async def test_conservation_finds_an_event_that_is_gone_by_the_life_that_misses_it(traded: tuple[Gateway, str]) -> None:
    """An event dropped in the middle is a gap at its seq, and the reservation whose step is missing is named."""
    gateway, url = traded
    rows = await gateway.ledger.read_events(0, 0, 100)
    event = next(row for row in rows if row.type == "stock.released")
    part = event.reservation
    await run_sql(url, f"DELETE FROM events WHERE seq = {event.seq}")
    found = await gateway.violations()
    ((packed,),) = await run_sql(url, f"SELECT packed FROM reservations WHERE id = '{part}'")
    assert set(found) == {
        f"6 gap seq {event.seq}",
        f"6 digest seq {event.seq + 1}",
        "6 delta main/tee/main",
        f"8 row {public(str(part), packed)}",
    }
    assert len(found) == 4
