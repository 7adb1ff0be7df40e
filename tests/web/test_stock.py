"""`/v1/stock`: every row of the contract's table."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.command import Adjust, Pause, PutLevel
from gateway.web.shapes import Stock, StockFound, StockPage, WrittenLevel
from tests.web.conftest import Gateway

LEVEL = "/v1/stock/a/main"


async def put(gateway: Gateway, path: str = LEVEL, **body: Any) -> Any:
    """A PUT that must succeed."""
    reply = await gateway.ask("PUT", path, json={"source": "erp", **body})
    assert reply.status == 200, reply.raw
    return reply.body


async def test_read_answers_totals_and_levels(gateway: Gateway) -> None:
    """A sku has its totals over locations, and each level its fields of the contract."""
    await put(gateway, sequence=1007, on_hand=50, safety_stock=5)
    await put(gateway, source="wms", sequence=77, deduction=1)
    await put(gateway, "/v1/stock/a/north", sequence=3, on_hand=2)
    await gateway.reserve("a", 3)

    reply = await gateway.ask("GET", "/v1/stock/a")

    assert reply.status == 200
    told = reply.body
    assert {name: told[name] for name in ("sku", "shop", "on_hand", "held", "committed", "available", "paused")} == {
        "sku": "a",
        "shop": "main",
        "on_hand": 52,
        "held": 3,
        "committed": 0,
        "available": 43,
        "paused": False,
    }
    Stock.model_validate(told)
    main, north = told["locations"]
    assert (main.pop("version"), main.pop("position")) == (3, f"0-1-{gateway.books.level('main', 'a', 'main').seq - 3}")
    assert main == {
        "location": "main",
        "on_hand": 50,
        "held": 3,
        "committed": 0,
        "deductions": {"wms": 1},
        "safety_stock": 5,
        "available": 41,
        "sequences": {"erp": 1007, "wms": 77},
        "updated_at": "2026-11-21T10:00:00.000Z",
    }
    assert north["available"] == 2


async def test_available_may_be_negative(gateway: Gateway) -> None:
    """A source that lowered `on_hand` below what is promised is shown as it is."""
    await gateway.reserve("a", 8)

    told = await put(gateway, sequence=1, on_hand=3)

    assert told["available"] == -5
    assert (await gateway.ask("GET", "/v1/stock/a")).body["available"] == -5


@pytest.mark.parametrize("sku", ["x y", "ü/ö", "%", "a?b#c", "日本", "a+b", "{x}", ".."])
async def test_sku_in_a_path_is_percent_decoded(gateway: Gateway, sku: str) -> None:
    """Any sku can be named in a path, every byte encoded."""
    encoded = "".join(f"%{byte:02X}" for byte in sku.encode())
    await put(gateway, f"/v1/stock/{encoded}/main", sequence=1, on_hand=4)

    reply = await gateway.ask("GET", f"/v1/stock/{encoded}")

    assert (reply.status, reply.body["sku"]) == (200, sku)


@pytest.mark.parametrize(
    "encoded",
    ["%00", "%20a", "a%20", "%0A", "a%7F", "%C2%85", "%FF", "%C3", "%ED%A0%80", "%zz", "a%", "a%2", "x" * 129],
)
async def test_wrong_sku_in_a_path_answers_422(gateway: Gateway, encoded: str) -> None:
    """Decoded path values obey the rules of bodies; broken encodings are wrong values."""
    for method, path in (("GET", f"/v1/stock/{encoded}"), ("POST", f"/v1/stock/{encoded}/pause")):
        reply = await gateway.ask(method, path)
        assert (reply.status, reply.fields) == (422, ["sku"])
    assert gateway.books.seen == []


@pytest.mark.parametrize("sku", [b"\xff\xfe", "ü".encode(), b"a b"])
async def test_path_with_bytes_that_were_not_encoded_answers_400(gateway: Gateway, sku: bytes) -> None:
    """A request line holds ASCII; what is not percent-encoded there is no HTTP."""
    answer = await gateway.raw(b"GET /v1/stock/" + sku + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


async def test_unknown_sku_answers_404(gateway: Gateway) -> None:
    """Reading, pausing and adjusting what is not there."""
    for method, path, request in (
        ("GET", "/v1/stock/nothing", {}),
        ("POST", "/v1/stock/nothing/pause", {}),
        (
            "POST",
            "/v1/stock/nothing/main/adjust",
            {"json": {"delta": 1, "reason": "r"}, "headers": {"Idempotency-Key": "k"}},
        ),
    ):
        reply = await gateway.ask(method, path, **request)
        assert (reply.status, reply.body["code"]) == (404, "sku_not_found")


async def test_query_answers_found_and_not_found(gateway: Gateway) -> None:
    """Skus come back in the order asked, each once."""
    reply = await gateway.post("/v1/stock/query", {"skus": ["b", "nothing", "a", "b"]})

    assert reply.status == 200
    assert [found["sku"] for found in reply.body["stock"]] == ["b", "a"]
    assert reply.body["not_found"] == ["nothing"]
    StockFound.model_validate(reply.body)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["skus"]),
        ({"skus": []}, ["skus"]),
        ({"skus": ["x"] * 1001}, ["skus"]),
        ({"skus": ["a", 5, " b"]}, ["skus[1]", "skus[2]"]),
    ],
)
async def test_query_of_the_wrong_form_answers_422(gateway: Gateway, body: Any, fields: list[str]) -> None:
    """1..1000 skus."""
    reply = await gateway.post("/v1/stock/query", body)

    assert (reply.status, reply.fields) == (422, fields)


async def test_catalogue_pages(gateway: Gateway) -> None:
    """Pages follow their cursors to the end."""
    first = await gateway.ask("GET", "/v1/stock?limit=1")
    second = await gateway.ask("GET", f"/v1/stock?limit=1&cursor={first.body['next_cursor']}")

    assert [page.body["stock"][0]["sku"] for page in (first, second)] == ["a", "b"]
    assert second.body["next_cursor"] is None
    StockPage.model_validate(first.body)


async def test_put_answers_the_level_with_applied(gateway: Gateway) -> None:
    """A level after a PUT has its own fields, `sku`, `shop`, `applied` and what the answer is worth."""
    told = await put(gateway, sequence=5, on_hand=7)

    assert (told["sku"], told["shop"], told["applied"], told["durable"]) == ("a", "main", True, True)
    assert told["sequences"] == {"erp": 5}
    WrittenLevel.model_validate(told)


async def test_put_again_with_the_same_sequence_and_content_is_not_applied(gateway: Gateway) -> None:
    """A repeat of the source is no change and no error."""
    await put(gateway, sequence=5, on_hand=7)

    assert (await put(gateway, sequence=5, on_hand=7))["applied"] is False


@pytest.mark.parametrize(("sequence", "on_hand"), [(4, 7), (5, 8)])
async def test_put_with_a_stale_sequence_answers_409(gateway: Gateway, sequence: int, on_hand: int) -> None:
    """An older sequence, or the same with other content, is refused with the stored one."""
    await put(gateway, sequence=5, on_hand=7)

    reply = await gateway.ask("PUT", LEVEL, json={"source": "erp", "sequence": sequence, "on_hand": on_hand})

    assert (reply.status, reply.body["code"], reply.body["current_sequence"]) == (409, "stale_sequence", 5)
    assert reply.body["detail"] == "The source has already told something as new or newer about this level"


async def test_put_passes_everything_on(gateway: Gateway) -> None:
    """Every field reaches the service; reservation ids once each."""
    held = await gateway.reserve()
    await gateway.post(f"/v1/reservations/{held['id']}/confirm")
    body = {"source": "wms", "sequence": 2**53 - 1, "on_hand": 0, "deduction": 3, "safety_stock": -1_000_000_000}

    await gateway.ask(
        "PUT", f"{LEVEL}?ack=memory", json=body | {"reflects": [held["id"], held["id"]]}, headers={"If-Match": '"1"'}
    )

    command, call = gateway.books.seen[-1]
    assert command == PutLevel("a", "main", "wms", 2**53 - 1, 0, 3, -1_000_000_000, (held["id"],), 1)
    assert call.ack == "memory"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["sequence", "source"]),
        ({"source": "e r p", "sequence": 0}, ["sequence", "source"]),
        ({"source": "erp", "sequence": 2**53}, ["sequence"]),
        ({"source": "erp", "sequence": 1, "on_hand": -1}, ["on_hand"]),
        ({"source": "erp", "sequence": 1, "on_hand": 10**9 + 1, "deduction": -1}, ["deduction", "on_hand"]),
        ({"source": "erp", "sequence": 1, "safety_stock": -(10**9) - 1}, ["safety_stock"]),
        ({"source": "erp", "sequence": 1.0, "on_hand": True}, ["on_hand", "sequence"]),
        ({"source": "erp", "sequence": 1, "onhand": 1}, ["onhand"]),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "reflects": ["nonsense"]}, ["reflects[0]"]),
        ({"source": "erp", "sequence": 1, "reflects": ["rsv_0-1-1-AAAAAAAAAAAAAAAA"]}, ["on_hand"]),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "reflects": ["rsv_0-1-1-AAAAAAAAAAAAAAAA"]}, ["reflects"]),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "reflects": ["x"] * 1001}, ["reflects"]),
    ],
)
async def test_put_of_the_wrong_form_answers_422(gateway: Gateway, body: Any, fields: list[str]) -> None:
    """Every wrong field is named, and nothing is applied."""
    before = gateway.books.seq

    reply = await gateway.ask("PUT", LEVEL, json=body)

    assert (reply.status, reply.fields) == (422, fields)
    assert gateway.books.seq == before


@pytest.mark.parametrize("given", ["nonsense", "x" * 65, "rsv_0-1-1-" + "A" * 17])
async def test_put_that_reflects_no_reservation_is_told_the_form_of_an_id(gateway: Gateway, given: str) -> None:
    """Also one that is too long: the words of another field's length would mislead."""
    body = {"source": "erp", "sequence": 1, "on_hand": 1, "reflects": [given]}

    reply = await gateway.ask("PUT", LEVEL, json=body)

    assert reply.body["errors"] == [{"field": "reflects[0]", "message": "must be the id of a reservation"}]


@pytest.mark.parametrize("location", ["a%20b", "-a", "%C3%BC", "x" * 65, "%FF"])
async def test_wrong_location_and_header_are_told_with_the_body(gateway: Gateway, location: str) -> None:
    """Path, header and body are refused together."""
    reply = await gateway.ask(
        "PUT", f"/v1/stock/%20a/{location}", json={"source": "erp"}, headers={"If-Match": "newest"}
    )

    assert (reply.status, reply.fields) == (422, ["If-Match", "location", "sequence", "sku"])


@pytest.mark.parametrize("if_match", ["", "*", "-1", "1.0", '"', 'W/"1"', str(2**53)])
async def test_if_match_of_another_form_answers_422(gateway: Gateway, if_match: str) -> None:
    """`If-Match` is a version."""
    reply = await gateway.ask("PUT", LEVEL, json={"source": "erp", "sequence": 1}, headers={"If-Match": if_match})

    assert (reply.status, reply.fields) == (422, ["If-Match"])


async def test_if_match_of_another_version_answers_409(gateway: Gateway) -> None:
    """PUT and adjust are refused with the version that counts."""
    version = (await put(gateway, sequence=1, on_hand=1))["version"]
    stale = {"If-Match": str(version - 1)}

    told = await gateway.ask("PUT", LEVEL, json={"source": "erp", "sequence": 2}, headers=stale)
    moved = await gateway.ask(
        "POST", f"{LEVEL}/adjust", json={"delta": 1, "reason": "r"}, headers=stale | {"Idempotency-Key": "k"}
    )

    for reply in (told, moved):
        assert (reply.status, reply.body["code"], reply.body["current_version"]) == (409, "version_conflict", version)


async def test_adjust_moves_on_hand_once_per_key(gateway: Gateway) -> None:
    """The same key and body again is the first result, marked as replayed."""
    body = {"delta": -4, "reason": "damaged", "reference": "r-1"}
    first = await gateway.post(f"{LEVEL}/adjust", body, Idempotency_Key="k")
    command = gateway.books.seen[-1][0]

    again = await gateway.post(f"{LEVEL}/adjust", body, Idempotency_Key="k")

    assert command == Adjust("a", "main", -4, "damaged", "r-1", "k", command.fingerprint)
    assert (first.status, first.body["on_hand"], "applied" in first.body) == (200, 6, False)
    assert (again.status, again.body["on_hand"], again.headers["Idempotent-Replayed"]) == (200, 6, "true")
    WrittenLevel.model_validate(first.body)


async def test_adjust_of_another_level_under_the_same_key_answers_422(gateway: Gateway) -> None:
    """The level is part of what a key stands for."""
    body = {"delta": 1, "reason": "count"}
    await gateway.post(f"{LEVEL}/adjust", body, Idempotency_Key="k")

    reply = await gateway.post("/v1/stock/b/main/adjust", body, Idempotency_Key="k")

    assert (reply.status, reply.body["code"]) == (422, "idempotency_key_reused")


async def test_adjust_without_a_key_answers_400_before_422(gateway: Gateway) -> None:
    """The key is required, whatever else is wrong."""
    reply = await gateway.post(f"{LEVEL}/adjust", {"delta": 0})

    assert (reply.status, reply.body["code"]) == (400, "idempotency_key_required")


async def test_adjust_below_zero_answers_409(gateway: Gateway) -> None:
    """`on_hand` does not go below 0."""
    reply = await gateway.post(f"{LEVEL}/adjust", {"delta": -11, "reason": "r"}, Idempotency_Key="k")

    assert (reply.status, reply.body["code"]) == (409, "insufficient_on_hand")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["delta", "reason"]),
        ({"delta": 0, "reason": "r", "x": 1}, ["delta", "x"]),
        ({"delta": 10**9 + 1, "reason": ""}, ["delta", "reason"]),
        ({"delta": -(10**9) - 1, "reason": 5, "reference": "a\n"}, ["delta", "reason", "reference"]),
        ({"delta": 1.0, "reason": "r"}, ["delta"]),
    ],
)
async def test_adjust_of_the_wrong_form_answers_422(gateway: Gateway, body: Any, fields: list[str]) -> None:
    """Every wrong field is named."""
    reply = await gateway.post(f"{LEVEL}/adjust", body, Idempotency_Key="k")

    assert (reply.status, reply.fields) == (422, fields)


async def test_pause_takes_a_sku_off_sale_and_resume_puts_it_back(gateway: Gateway) -> None:
    """A paused sku refuses new reservations, with that reason."""
    paused = await gateway.post("/v1/stock/a/pause", {"reason": "recall"})
    command = gateway.books.seen[-1][0]
    refused = await gateway.post("/v1/reservations", {"lines": [{"sku": "a", "quantity": 1}]})
    resumed = await gateway.post("/v1/stock/a/resume")

    assert command == Pause("a", paused=True, reason="recall")
    assert (paused.status, paused.body["paused"]) == (200, True)
    assert refused.body["shortages"][0]["reason"] == "paused"
    assert (resumed.status, resumed.body["paused"]) == (200, False)
    Stock.model_validate(resumed.body)


async def test_shops_are_kept_apart(gateway: Gateway) -> None:
    """The same sku in two shops is two skus."""
    await put(gateway, "/v1/stock/a/main?shop=north", sequence=1, on_hand=99)

    here, there = await gateway.ask("GET", "/v1/stock/a"), await gateway.ask("GET", "/v1/stock/a?shop=north")

    assert (here.body["on_hand"], there.body["on_hand"], there.body["shop"]) == (10, 99, "north")
