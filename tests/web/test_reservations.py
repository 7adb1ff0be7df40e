"""`/v1/reservations`: every row of the contract's table, as a client sees it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain import errors as e
from gateway.domain.command import Call, Confirm, Extend, Release, Reserve, Wish
from gateway.web.shapes import Reservation, ReservationPage, StoredReservation
from tests.web.conftest import Gateway

LINES = [{"sku": "a", "quantity": 2}]


async def test_reserve_with_every_field_answers_201_with_the_reservation(gateway: Gateway) -> None:
    """A hold is answered with 201, its Location, and exactly the fields of the contract."""
    body = {
        "lines": [{"sku": "a", "quantity": 2, "location": "main"}],
        "tier": "checkout",
        "ttl_seconds": 60,
        "reference": "cart-17",
        "customer": "c-9",
        "channel": "web",
        "locations": ["main", "north"],
        "allow_partial": False,
        "shop": "main",
    }

    reply = await gateway.post("/v1/reservations", body)

    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Location"] == f"/v1/reservations/{reply.body['id']}"
    assert "Idempotent-Replayed" not in reply.headers
    told = reply.body
    assert told.pop("id").startswith("rsv_0-1-")
    assert told.pop("position").startswith("0-1-")
    assert told == {
        "shop": "main",
        "state": "held",
        "tier": "checkout",
        "reference": "cart-17",
        "customer": "c-9",
        "channel": "web",
        "lines": [{"sku": "a", "location": "main", "quantity": 2}],
        "created_at": "2026-11-21T10:00:00.000Z",
        "expires_at": "2026-11-21T10:01:00.000Z",
        "confirmed_at": None,
        "ended_at": None,
        "durable": False,
    }


async def test_reserve_passes_everything_on_to_the_service(gateway: Gateway) -> None:
    """What the client said reaches the service as a command and a call, with defaults where it said nothing."""
    body = {"lines": [{"sku": "a", "quantity": 2}, {"sku": "b", "quantity": 1, "location": "main"}]}

    await gateway.post("/v1/reservations?ack=durable&shop=main", body, Request_Deadline_Ms="250")

    command, call = gateway.books.seen[-1]
    assert command == Reserve([Wish("a", 2), Wish("b", 1, "main")], "cart")
    assert call == Call("main", "anonymous", "durable", 250, call.started_s)
    assert call.started_s > 0


async def test_reserve_without_enough_units_answers_409_with_every_short_line(gateway: Gateway) -> None:
    """`out_of_stock` tells each short line with what there is and when more may be free."""
    await gateway.reserve("a", 8)

    reply = await gateway.post(
        "/v1/reservations", {"lines": [{"sku": "a", "quantity": 3}, {"sku": "b", "quantity": 11, "location": "main"}]}
    )

    assert reply.status == 409
    assert reply.body["code"] == "out_of_stock"
    assert reply.body["outcome"] == "not_applied"
    assert reply.body["shortages"] == [
        {
            "sku": "a",
            "location": None,
            "requested": 3,
            "available": 2,
            "reason": "held",
            "next_release_at": "2026-11-21T10:05:00.000Z",
        },
        {
            "sku": "b",
            "location": "main",
            "requested": 11,
            "available": 10,
            "reason": "sold_out",
            "next_release_at": None,
        },
    ]


async def test_reserve_with_allow_partial_tells_shortages_in_the_201(gateway: Gateway) -> None:
    """A partial hold is a 201 with the lines it got and the shortages; a full one then has an empty list."""
    partial = await gateway.reserve("a", 12, allow_partial=True)
    full = await gateway.reserve("b", 1, allow_partial=True)

    assert partial["lines"] == [{"sku": "a", "location": "main", "quantity": 10}]
    assert [short["requested"] for short in partial["shortages"]] == [12]
    assert full["shortages"] == []
    Reservation.model_validate(partial)


async def test_reserve_of_an_unknown_sku_answers_422_naming_it(gateway: Gateway) -> None:
    """`unknown_sku` names the skus."""
    reply = await gateway.post("/v1/reservations", {"lines": [{"sku": "nowhere", "quantity": 1}]})

    assert (reply.status, reply.body["code"], reply.body["skus"]) == (422, "unknown_sku", ["nowhere"])


async def test_reserve_repeated_with_its_key_answers_the_first_result(gateway: Gateway) -> None:
    """Same key and a body that is equal after parsing: same status and id, marked as replayed."""
    first = await gateway.post("/v1/reservations", {"lines": LINES, "tier": "cart"}, Idempotency_Key="k-1")

    again = await gateway.ask(
        "POST",
        "/v1/reservations",
        data=b' {"tier":"cart",\n "lines":[{"quantity":2, "sku":"\\u0061"}]} ',
        headers={"Content-Type": "application/json; charset=UTF-8", "Idempotency-Key": "k-1"},
    )

    assert again.status == first.status == 201
    assert again.body["id"] == first.body["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize(
    "other",
    [{"lines": [{"sku": "a", "quantity": 3}]}, {"lines": LINES, "tier": "cart"}, {"lines": LINES, "reference": "x"}],
)
async def test_reserve_repeated_with_its_key_and_another_body_answers_422(gateway: Gateway, other: Any) -> None:
    """A key belongs to one body."""
    await gateway.post("/v1/reservations", {"lines": LINES}, Idempotency_Key="k-1")

    reply = await gateway.post("/v1/reservations", other, Idempotency_Key="k-1")

    assert (reply.status, reply.body["code"]) == (422, "idempotency_key_reused")


async def test_reserve_fingerprint_is_the_same_wherever_the_shop_stands(gateway: Gateway) -> None:
    """The shop counts, not the place where it was named."""
    gateway.books.put("a", on_hand=10, shop="north")
    await gateway.post("/v1/reservations", {"lines": LINES, "shop": "north"}, Idempotency_Key="k-1")

    again = await gateway.post("/v1/reservations?shop=north", {"lines": LINES}, Idempotency_Key="k-1")

    assert again.headers["Idempotent-Replayed"] == "true"


async def test_reserve_without_a_key_has_no_fingerprint(gateway: Gateway) -> None:
    """Without a key there is nothing to remember, and nothing is computed."""
    await gateway.post("/v1/reservations", {"lines": LINES})

    assert gateway.books.seen[-1][0].fingerprint == ""


async def test_read_answers_the_reservation(gateway: Gateway) -> None:
    """GET answers 200 with the reservation."""
    held = await gateway.reserve()

    reply = await gateway.ask("GET", f"/v1/reservations/{held['id']}")

    assert reply.status == 200
    assert reply.body == held | {"durable": True}
    StoredReservation.model_validate(reply.body)


async def test_read_after_the_deadline_answers_expired_without_expires_at(gateway: Gateway) -> None:
    """`expires_at` is null unless held."""
    held = await gateway.reserve(ttl_seconds=5)
    gateway.books.now_ms += 5_000

    reply = await gateway.ask("GET", f"/v1/reservations/{held['id']}")

    assert (reply.body["state"], reply.body["expires_at"]) == ("expired", None)
    assert reply.body["ended_at"] == "2026-11-21T10:00:05.000Z"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/reservations/{}"),
        ("DELETE", "/v1/reservations/{}"),
        ("POST", "/v1/reservations/{}/extend"),
        ("POST", "/v1/reservations/{}/confirm"),
        ("POST", "/v1/reservations/{}/fulfil"),
        ("POST", "/v1/reservations/{}/release"),
    ],
)
@pytest.mark.parametrize("name", ["rsv_0-1-99-AAAAAAAAAAAAAAAA", "nonsense", "%E2%82%AC", "a%2Fb", "..", "x" * 200])
async def test_calls_on_an_unknown_id_answer_404(gateway: Gateway, method: str, path: str, name: str) -> None:
    """Whatever stands where the id should be: if it is not one, there is no such reservation."""
    reply = await gateway.ask(method, path.format(name))

    assert (reply.status, reply.body["code"]) == (404, "reservation_not_found")


async def test_read_of_another_shops_reservation_answers_404(gateway: Gateway) -> None:
    """A reservation is found in its shop only."""
    held = await gateway.reserve()

    reply = await gateway.ask("GET", f"/v1/reservations/{held['id']}?shop=other")

    assert reply.status == 404


STATES = ["held", "confirmed", "fulfilled", "released", "expired"]
#: The contract's table: what each call answers in each state, in the order of STATES.
ANSWERS: dict[str, list[int | str]] = {
    "extend": [200, "reservation_confirmed", "reservation_fulfilled", "reservation_released", "reservation_expired"],
    "confirm": [200, 200, 200, "reservation_released", "reservation_expired"],
    "fulfil": ["reservation_not_confirmed", 200, 200, "reservation_released", "reservation_expired"],
    "release": [200, 200, "reservation_fulfilled", 200, 200],
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", sorted(ANSWERS))
async def test_call_in_each_state_answers_as_the_table_says(gateway: Gateway, call: str, state: str) -> None:
    """Every cell of the table, status and code."""
    held = await gateway.reserve()
    path = f"/v1/reservations/{held['id']}"
    for step in {"confirmed": ["confirm"], "fulfilled": ["confirm", "fulfil"], "released": ["release"]}.get(state, []):
        assert (await gateway.post(f"{path}/{step}")).status == 200
    if state == "expired":
        gateway.books.now_ms += 3_600_000

    reply = await gateway.post(f"{path}/{call}")

    expected = ANSWERS[call][STATES.index(state)]
    if expected == 200:
        assert reply.status == 200, reply.raw
    else:
        assert (reply.status, reply.body["code"]) == (409, expected)


async def test_extend_passes_tier_and_ttl_on(gateway: Gateway) -> None:
    """A hold moves to another tier with a new deadline from now."""
    held = await gateway.reserve()

    reply = await gateway.post(f"/v1/reservations/{held['id']}/extend", {"tier": "checkout", "ttl_seconds": 3600})

    assert gateway.books.seen[-1][0] == Extend(held["id"], "checkout", 3600)
    assert (reply.body["tier"], reply.body["expires_at"]) == ("checkout", "2026-11-21T11:00:00.000Z")


async def test_extend_past_the_lifetime_answers_409(gateway: Gateway) -> None:
    """A timer is not extended for ever."""
    held = await gateway.reserve(ttl_seconds=900)
    for _ in range(3):
        gateway.books.now_ms += 899_000
        reply = await gateway.post(f"/v1/reservations/{held['id']}/extend", {"ttl_seconds": 900})
        assert reply.status == 200
    gateway.books.now_ms += 600_000

    reply = await gateway.post(f"/v1/reservations/{held['id']}/extend", {"ttl_seconds": 900})

    assert (reply.status, reply.body["code"]) == (409, "extension_limit")


async def test_confirm_passes_its_fields_on_and_tells_a_reacquired_hold(gateway: Gateway) -> None:
    """`reacquired` stands in the answer only where it happened."""
    first, second = await gateway.reserve(), await gateway.reserve()
    path = "/v1/reservations/{}/confirm"
    body = {"if_expired": "reacquire", "fulfil": True}
    live = await gateway.post(path.format(first["id"]), body)
    gateway.books.now_ms += 3_600_000

    late = await gateway.post(path.format(second["id"]), body)

    assert gateway.books.seen[-1][0] == Confirm(second["id"], "reacquire", fulfil=True)
    assert "reacquired" not in live.body
    assert late.body["reacquired"] is True
    assert late.body["state"] == "fulfilled"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/reservations/{}/release"), ("DELETE", "/v1/reservations/{}")]
)
async def test_release_by_either_call_passes_the_reason_on(gateway: Gateway, method: str, path: str) -> None:
    """DELETE is release."""
    held = await gateway.reserve()

    reply = await gateway.ask(method, path.format(held["id"]), json={"reason": "changed mind"})

    assert gateway.books.seen[-1][0] == Release(held["id"], "changed mind")
    assert (reply.status, reply.body["state"]) == (200, "released")


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}])
@pytest.mark.parametrize("call", ["extend", "confirm", "fulfil", "release"])
async def test_calls_with_optional_fields_take_an_empty_body(gateway: Gateway, call: str, headers: Any) -> None:
    """Nothing to say needs no body and no Content-Type."""
    held = await gateway.reserve()
    if call == "fulfil":
        await gateway.post(f"/v1/reservations/{held['id']}/confirm")

    reply = await gateway.ask("POST", f"/v1/reservations/{held['id']}/{call}", headers=headers)

    assert reply.status == 200


async def test_empty_body_means_the_defaults_of_its_own_call(gateway: Gateway) -> None:
    """Whatever was said before, in the same call or in others: nothing said is the defaults, on both ways of a request."""
    (said, *silent) = [(await gateway.reserve())["id"] for _ in range(5)]
    path = "/v1/reservations/{}/{}"
    for call in ("release", "confirm"):
        for _ in range(2):
            await gateway.ask("POST", path.format(silent[0], call))
    await gateway.post(path.format(said, "confirm"), {"if_expired": "reacquire", "fulfil": True})

    for id in silent[1:3]:
        await gateway.ask("POST", path.format(id, "confirm"))
    for id in silent[3:] * 2:
        await gateway.ask("POST", path.format(id, "release"))

    told = [command for command, _ in gateway.books.seen]
    assert told[-4:] == [*(Confirm(id) for id in silent[1:3]), *(Release(id) for id in silent[3:] * 2)]


async def test_search_filters_and_pages(gateway: Gateway) -> None:
    """Every filter reaches the service, and the page its cursor."""
    for number in range(3):
        await gateway.reserve(reference="r", customer=f"c{number}")

    first = await gateway.ask("GET", "/v1/reservations?reference=r&sku=a&state=held&limit=2")
    second = await gateway.ask("GET", f"/v1/reservations?reference=r&cursor={first.body['next_cursor']}&limit=2")
    one = await gateway.ask("GET", "/v1/reservations?customer=c1")

    assert [len(page.body["reservations"]) for page in (first, second, one)] == [2, 1, 1]
    assert second.body["next_cursor"] is None
    assert first.body["as_of_position"] == f"0-1-{gateway.books.seq}"
    assert all(each["durable"] for each in first.body["reservations"])
    ReservationPage.model_validate(first.body)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=1001", ["limit"]),
        ("limit=1_0", ["limit"]),
        ("limit=%D9%A3", ["limit"]),
        ("limit=", ["limit"]),
        ("state=gone", ["state"]),
        ("state=", ["state"]),
        ("cursor=", ["cursor"]),
        ("cursor=a%0Ab", ["cursor"]),
        ("cursor=nonsense", ["cursor"]),
        ("reference=%20x&customer=&sku=%00", ["customer", "reference", "sku"]),
        ("ack=durable", ["ack"]),
        ("limit=1&limit=2", ["limit"]),
        ("colour=red&limit=0", ["colour", "limit"]),
        ("%FF=1", ["query"]),
        ("sku=%zz", ["query"]),
        ("&".join(f"a{number}=1" for number in range(40)), ["query"]),
    ],
)
async def test_search_with_a_wrong_query_answers_422_naming_it(gateway: Gateway, query: str, fields: list[str]) -> None:
    """Unknown, repeated, broken and out-of-range parameters are named."""
    reply = await gateway.ask("GET", f"/v1/reservations?{query}")

    assert (reply.status, reply.fields) == (422, fields)


async def test_durability_unknown_tells_the_id(gateway: Gateway) -> None:
    """A change whose commit was not seen is told as unknown, with the id to read."""
    gateway.books.failures.append(e.DurabilityUnknown(id="rsv_0-1-7-AAAAAAAAAAAAAAAA"))

    reply = await gateway.post("/v1/reservations?ack=durable", {"lines": LINES})

    assert (reply.status, reply.body["outcome"]) == (503, "unknown")
    assert reply.body["id"] == "rsv_0-1-7-AAAAAAAAAAAAAAAA"
    assert int(reply.headers["Retry-After"]) >= 1
