"""Every operation in every state: the table of the contract, cell by cell, single and in a batch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.aged import Aged
from tests.acceptance.client import Client

Outcome = tuple[int, str | None]
OK: Outcome = (200, None)

TABLE: dict[str, dict[str, Outcome]] = {
    "held": {
        "extend": OK,
        "confirm": OK,
        "fulfil": (409, "reservation_not_confirmed"),
        "release": OK,
    },
    "confirmed": {
        "extend": (409, "reservation_confirmed"),
        "confirm": OK,
        "fulfil": OK,
        "release": OK,
    },
    "fulfilled": {
        "extend": (409, "reservation_fulfilled"),
        "confirm": OK,
        "fulfil": OK,
        "release": (409, "reservation_fulfilled"),
    },
    "released": {
        "extend": (409, "reservation_released"),
        "confirm": (409, "reservation_released"),
        "fulfil": (409, "reservation_released"),
        "release": OK,
    },
    "expired": {
        "extend": (409, "reservation_expired"),
        "confirm": (409, "reservation_expired"),
        "fulfil": (409, "reservation_expired"),
        "release": OK,
    },
}
MOVES = {
    ("held", "extend"): "held",
    ("held", "confirm"): "confirmed",
    ("held", "release"): "released",
    ("confirmed", "fulfil"): "fulfilled",
    ("confirmed", "release"): "released",
}
# on_hand, held, committed of 5 units of which the reservation has 2
COUNTERS = {
    "held": (5, 2, 0),
    "confirmed": (5, 0, 2),
    "fulfilled": (3, 0, 0),
    "released": (5, 0, 0),
    "expired": (5, 0, 0),
}
CELLS = [(state, operation) for state, row in TABLE.items() for operation in [*row, "delete"]]
STATES = {"held": [], "confirmed": ["confirm"], "fulfilled": ["confirm", "fulfil"], "released": ["release"]}


async def brought_to(state: str, api: Client) -> dict[str, Any]:
    """A reservation of 2 of 5 units of `A` in the state, by real moves."""
    await api.stock_up("A", 5)
    found = await api.hold("A", 2, ack="durable")
    for operation in STATES[state]:
        found = await api.done(operation, found["id"])
    assert found["state"] == state
    return found


def expected(state: str, operation: str) -> Outcome:
    """The cell; DELETE answers as release."""
    return TABLE[state]["release" if operation == "delete" else operation]


async def check_after(client: Client, before: dict[str, Any], state: str, operation: str) -> None:
    """The reservation and the level are where the cell leaves them; what is as it was has not moved at all."""
    then = MOVES.get((state, "release" if operation == "delete" else operation))
    after = await client.reservation(before["id"])
    assert after["state"] == (then or state)
    if then is None:
        assert after | {"durable": True} == before | {"durable": True}
    else:
        assert after["position"] != before["position"]
    on_hand, held, committed, available = await client.counters("A")
    assert (on_hand, held, committed) == COUNTERS[after["state"]]
    assert available == on_hand - held - committed


@pytest.mark.parametrize(("state", "operation"), [cell for cell in CELLS if cell[0] != "expired"])
async def test_operation_in_a_state_answers_as_the_table_says(api: Client, state: str, operation: str) -> None:
    """Status, code, the state afterwards and the counters of each cell of the four states that calls lead to."""
    before = await brought_to(state, api)

    answer = await api.act(operation, before["id"])

    assert answer.outcome == expected(state, operation), answer.text
    if answer.status == 200:
        assert answer.body["id"] == before["id"]
        assert answer.body["durable"] is True
    await check_after(api, before, state, operation)


@pytest.mark.parametrize("operation", [*TABLE["expired"], "delete"])
async def test_operation_on_an_expired_reservation_answers_as_the_table_says(
    api: Client, aged: Aged, operation: str
) -> None:
    """The same for the state that only time leads to."""
    client = api.for_shop(aged.shop)
    before = await client.reservation(aged.id)

    answer = await client.act(operation, aged.id)

    assert answer.outcome == expected("expired", operation), answer.text
    await check_after(client, before, "expired", operation)


@pytest.mark.parametrize(
    ("state", "operation"), [cell for cell in CELLS if cell[0] != "expired" and cell[1] != "delete"]
)
async def test_operation_in_a_batch_answers_as_the_single_call(api: Client, state: str, operation: str) -> None:
    """A batch of one gives the same status, code and state."""
    before = await brought_to(state, api)

    result = (await api.batch({"op": operation, "id": before["id"]}))[0]

    assert (result["status"], result["body"].get("code")) == expected(state, operation)
    await check_after(api, before, state, operation)


async def test_operations_on_an_expired_reservation_in_a_batch_answer_as_single_calls(api: Client, aged: Aged) -> None:
    """All four of the expired column in one batch; none of them moves anything."""
    client = api.for_shop(aged.shop)
    before = await client.reservation(aged.id)

    results = await client.batch(*[{"op": operation, "id": aged.id} for operation in TABLE["expired"]])

    assert [(r["status"], r["body"].get("code")) for r in results] == list(TABLE["expired"].values())
    await check_after(client, before, "expired", "extend")


@pytest.mark.parametrize(
    ("state", "operation"), [("held", "confirm"), ("confirmed", "fulfil"), ("held", "release"), ("held", "delete")]
)
async def test_repeated_operation_answers_as_the_first(api: Client, state: str, operation: str) -> None:
    """A repeat after a lost answer is a 200 again, with the reservation as the first left it."""
    before = await brought_to(state, api)

    first = await api.act(operation, before["id"])
    second = await api.act(operation, before["id"])

    assert (first.status, second.status) == (200, 200)
    assert second.body == first.body
