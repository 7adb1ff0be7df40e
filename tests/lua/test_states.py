"""Every operation on a reservation in every state it can be in: the table of the HTTP contract."""

from __future__ import annotations

import pytest

from gateway.domain.errors import (
    GatewayError,
    ReservationConfirmed,
    ReservationExpired,
    ReservationFulfilled,
    ReservationNotConfirmed,
    ReservationReleased,
)
from gateway.domain.reservation import LEGAL_MOVES, Reservation
from gateway.service.verdict import changed
from tests.lua.warehouse import Warehouse, told, wish

STATES = ("held", "confirmed", "fulfilled", "released", "expired", "due")


async def reservation_in(warehouse: Warehouse, state: str) -> Reservation:
    """A reservation of 3 units of A in the state; `due` is past its deadline and not swept yet."""
    r = await warehouse.hold(wish("A", 3), ttl_ms=1000)
    if state in ("confirmed", "fulfilled"):
        r = told(await warehouse.run(warehouse.confirm(r, fulfil=state == "fulfilled")))
    elif state == "released":
        r = told(await warehouse.run(warehouse.release(r)))
    elif state in ("expired", "due"):
        await warehouse.advance(1000)
        if state == "expired":
            await warehouse.run(warehouse.expire())
            r = told(await warehouse.run(warehouse.read_reservation(r.id)))
    assert r.state == ("held" if state == "due" else state)
    return r


# operation, state: what it ends in, or the error; "=" = as it was, no event.
TABLE: dict[tuple[str, str], str | type[GatewayError]] = {
    ("extend", "held"): "held",
    ("extend", "confirmed"): ReservationConfirmed,
    ("extend", "fulfilled"): ReservationFulfilled,
    ("extend", "released"): ReservationReleased,
    ("extend", "expired"): ReservationExpired,
    ("extend", "due"): ReservationExpired,
    ("confirm", "held"): "confirmed",
    ("confirm", "confirmed"): "=",
    ("confirm", "fulfilled"): "=",
    ("confirm", "released"): ReservationReleased,
    ("confirm", "expired"): ReservationExpired,
    ("confirm", "due"): ReservationExpired,
    ("reacquire", "held"): "confirmed",
    ("reacquire", "confirmed"): "=",
    ("reacquire", "fulfilled"): "=",
    ("reacquire", "released"): ReservationReleased,
    ("reacquire", "expired"): "confirmed",
    ("reacquire", "due"): "confirmed",
    ("confirm and fulfil", "held"): "fulfilled",
    ("confirm and fulfil", "confirmed"): "fulfilled",
    ("confirm and fulfil", "fulfilled"): "=",
    ("confirm and fulfil", "released"): ReservationReleased,
    ("confirm and fulfil", "expired"): ReservationExpired,
    ("confirm and fulfil", "due"): ReservationExpired,
    ("fulfil", "held"): ReservationNotConfirmed,
    ("fulfil", "confirmed"): "fulfilled",
    ("fulfil", "fulfilled"): "=",
    ("fulfil", "released"): ReservationReleased,
    ("fulfil", "expired"): ReservationExpired,
    ("fulfil", "due"): ReservationExpired,
    ("release", "held"): "released",
    ("release", "confirmed"): "released",
    ("release", "fulfilled"): ReservationFulfilled,
    ("release", "released"): "=",
    ("release", "expired"): "=",
    ("release", "due"): "expired",
}
COUNTERS = {
    "held": (10, 3, 0),
    "confirmed": (10, 0, 3),
    "fulfilled": (7, 0, 0),
    "released": (10, 0, 0),
    "expired": (10, 0, 0),
}


def call_of(warehouse: Warehouse, operation: str, r: Reservation):  # type: ignore[no-untyped-def]
    """The call behind an operation of the table."""
    if operation == "reacquire":
        return warehouse.confirm(r, reacquire=True)
    if operation == "confirm and fulfil":
        return warehouse.confirm(r, fulfil=True)
    return getattr(warehouse, operation)(r)


@pytest.mark.parametrize("way", ["alone", "in a batch"])
@pytest.mark.parametrize(("operation", "state"), TABLE)
async def test_cell_answers_as_the_contract_says(warehouse: Warehouse, operation: str, state: str, way: str) -> None:
    """What each operation answers in each state, the levels after it, and that a repeat changes nothing more."""
    await warehouse.stock("A", 10)
    r = await reservation_in(warehouse, state)
    before = len(await warehouse.remember())
    expected = TABLE[operation, state]
    call = call_of(warehouse, operation, r)

    answers = []
    for _ in range(2):
        if way == "alone":
            answer = await warehouse.run(call)
            answers.append((answer.status, answer.fields))
        else:
            (result,) = await warehouse.batch(call)
            answers.append((result[0], result[1:]))

    name = call.script
    events = (await warehouse.remember())[before:]
    now = told(await warehouse.run(warehouse.read_reservation(r.id)))
    assert await warehouse.counters("A") == COUNTERS[now.state]
    if isinstance(expected, type):
        for status, fields in answers:
            assert status == "STATE"
            with pytest.raises(expected):
                changed(name, status, fields, 0, "rsv_…")
        assert len(events) == (1 if state == "due" else 0)
        return
    for status, fields in answers:
        told_now = changed(name, status, fields, 0, "rsv_…").reservation
        assert told_now.state == (expected if expected != "=" else state)
    if expected == "=":
        assert events == []
        assert now == r
        return
    assert now.state == expected
    if operation not in ("extend", "reacquire"):
        assert [answer[1][1] for answer in answers] == [answers[0][1][1]] * 2  # a repeat tells the same


async def test_every_cell_is_in_the_table() -> None:
    """No operation and no state is left out."""
    operations = {operation for operation, _ in TABLE}

    assert {(operation, state) for operation in operations for state in STATES} == set(TABLE)


async def test_legal_moves_are_those_of_the_table() -> None:
    """The domain's list of legal moves and the scripts agree."""
    moves = {state: set() for state in LEGAL_MOVES} | {"held": {"expired"}}  # type: ignore[var-annotated]
    for (_, state), outcome in TABLE.items():
        if isinstance(outcome, str) and outcome != "=" and state not in ("due", outcome):
            moves[state].add(outcome)
    moves["held"].discard("fulfilled")  # confirm and fulfil make two moves, each an event

    assert moves == {state: set(after) for state, after in LEGAL_MOVES.items()}


@pytest.mark.parametrize("operation", sorted({operation for operation, _ in TABLE}))
async def test_cell_at_the_deadline_to_the_millisecond(warehouse: Warehouse, operation: str) -> None:
    """One millisecond before its deadline a hold is a live one for every operation, at the deadline for none."""
    await warehouse.stock("A", 10)
    r = await warehouse.hold(wish("A", 3), ttl_ms=1000)
    late = await warehouse.hold(wish("A", 3), ttl_ms=1000)
    await warehouse.advance(999)
    live = (await warehouse.run(call_of(warehouse, operation, r))).status
    await warehouse.advance(1)

    answer = await warehouse.run(call_of(warehouse, operation, late))

    after = told(await warehouse.run(warehouse.read_reservation(late.id)))
    assert (live == "STATE") == (operation == "fulfil")
    assert (answer.status == "STATE") == (operation not in ("release", "reacquire"))
    assert after.state == ("confirmed" if operation == "reacquire" else "expired")
