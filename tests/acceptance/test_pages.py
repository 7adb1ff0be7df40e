"""Listings: reservations and the catalogue, page by page from the durable store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.aged import Aged
from tests.acceptance.answers import POSITION, check_reservation, check_stock
from tests.acceptance.client import Client


async def all_pages(api: Client, path: str, name: str, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page of a listing."""
    pages, cursor = [], None
    while True:
        answer = await api.get(path, limit=limit, cursor=cursor, **query)
        assert answer.status == 200, answer.text
        pages.append(answer.body[name])
        cursor = answer.body["next_cursor"]
        if cursor is None:
            return pages


async def found(api: Client, **query: Any) -> list[str]:
    """The ids that a search finds."""
    answer = await api.get("/v1/reservations", **query)
    assert answer.status == 200, answer.text
    assert POSITION.fullmatch(answer.body["as_of_position"])
    for reservation in answer.body["reservations"]:
        check_reservation(reservation)
    return [reservation["id"] for reservation in answer.body["reservations"]]


async def test_search_finds_by_each_field_and_by_all_together(api: Client) -> None:
    """reference, customer, sku and state, alone and combined."""
    await api.stock_up("A", 50)
    await api.stock_up("B", 50)
    first = await api.hold("A", reference="r1", customer="c1", ack="durable")
    second = await api.hold("B", reference="r2", customer="c1", ack="durable")
    both = (await api.reserve(("A", 1), ("B", 1), reference="r1", customer="c2", ack="durable")).body
    await api.done("confirm", second["id"])

    assert set(await found(api)) == {first["id"], second["id"], both["id"]}
    assert set(await found(api, reference="r1")) == {first["id"], both["id"]}
    assert set(await found(api, customer="c1")) == {first["id"], second["id"]}
    assert set(await found(api, sku="B")) == {second["id"], both["id"]}
    assert await found(api, state="confirmed") == [second["id"]]
    assert await found(api, reference="r1", customer="c2", sku="A", state="held") == [both["id"]]
    assert await found(api, reference="r3") == []


async def test_search_answers_whole_reservations(api: Client) -> None:
    """Each is as GET shows it."""
    await api.stock_up("A", 5)
    held = await api.hold("A", reference="r", customer="c", channel="web", ack="durable")

    answer = await api.get("/v1/reservations", reference="r")

    assert answer.body["reservations"] == [await api.reservation(held["id"])]


async def test_search_pages_through_everything_once(api: Client) -> None:
    """7 reservations by 3: 3, 3, 1, none twice and none missing; the last page has no cursor."""
    await api.stock_up("A", 50)
    made = {(await api.hold("A", reference="r", ack="durable"))["id"] for _ in range(7)}

    pages = await all_pages(api, "/v1/reservations", "reservations", 3, reference="r")

    assert [len(page) for page in pages if page] == [3, 3, 1]
    ids = [reservation["id"] for page in pages for reservation in page]
    assert len(ids) == 7
    assert set(ids) == made


async def test_search_goes_on_behind_its_cursor_while_new_ones_arrive(api: Client) -> None:
    """What was there at the first page comes exactly once, whatever is added meanwhile."""
    await api.stock_up("A", 50)
    made = {(await api.hold("A", ack="durable"))["id"] for _ in range(4)}
    first = await api.get("/v1/reservations", limit=2)

    for _ in range(3):
        await api.hold("A", ack="durable")
    seen = [r["id"] for r in first.body["reservations"]]
    cursor = first.body["next_cursor"]
    while cursor is not None:
        page = await api.get("/v1/reservations", limit=2, cursor=cursor)
        seen += [r["id"] for r in page.body["reservations"]]
        cursor = page.body["next_cursor"]

    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_search_sees_a_hold_past_its_deadline_as_expired(api: Client, aged: Aged) -> None:
    """Also by state, and not among the held ones any more."""
    client = api.for_shop(aged.shop)

    assert await found(client, state="expired") == [aged.id]
    assert await found(client, state="held") == []
    assert await found(client, reference="aged") == [aged.id]


async def test_search_stays_in_its_shop(api: Client) -> None:
    """The same reference in another shop is not found."""
    other = api.for_shop(f"{api.shop}-b")
    await api.stock_up("A", 5)
    await other.stock_up("A", 5)
    mine = await api.hold("A", reference="r", ack="durable")
    await other.hold("A", reference="r", ack="durable")

    assert await found(api, reference="r") == [mine["id"]]


async def test_cursor_of_one_shop_opens_no_other(api: Client) -> None:
    """Taken to another shop it is refused or goes on there, it never shows the first one's reservations."""
    other = api.for_shop(f"{api.shop}-b")
    for client in (api, other):
        await client.stock_up("A", 9)
        for _ in range(3):
            await client.hold("A", ack="durable")
    cursor = (await api.get("/v1/reservations", limit=1)).body["next_cursor"]
    assert cursor is not None

    answer = await other.get("/v1/reservations", limit=9, cursor=cursor)

    assert answer.status in {200, 422}
    if answer.status == 200:
        assert {reservation["shop"] for reservation in answer.body["reservations"]} <= {other.shop}


@pytest.mark.parametrize("reference", ["50%", "_", "r'; --", "é😀", "a b+c&d"])
async def test_search_takes_a_reference_literally(api: Client, reference: str) -> None:
    """No pattern, no SQL."""
    await api.stock_up("A", 5)
    mine = await api.hold("A", reference=reference, ack="durable")
    await api.hold("A", reference="50x", ack="durable")

    assert await found(api, reference=reference) == [mine["id"]]


async def test_catalogue_pages_through_every_sku_once(api: Client) -> None:
    """All skus with all their locations, page by page."""
    skus = [f"S{number}" for number in range(7)] + ["é", "a/b"]
    for units, sku in enumerate(skus):
        await api.stock_up(sku, units, "berlin")
        await api.stock_up(sku, 100, "paris")

    pages = await all_pages(api, "/v1/stock", "stock", 4)

    stock = [sku for page in pages for sku in page]
    for one in stock:
        check_stock(one)
    assert max(len(page) for page in pages) == 4
    assert len(stock) == len(skus)
    assert {one["sku"]: one["on_hand"] for one in stock} == {sku: 100 + units for units, sku in enumerate(skus)}


async def test_catalogue_of_an_empty_shop_is_empty(api: Client) -> None:
    """200, not 404."""
    answer = await api.get("/v1/stock")

    assert (answer.status, answer.body["stock"], answer.body["next_cursor"]) == (200, [], None)


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": "x"}, {"limit": 10**9}, {"cursor": "nonsense"}, {"cursor": "é"}]
)
async def test_catalogue_with_a_bad_query_is_refused(api: Client, query: dict[str, Any]) -> None:
    """422 names the parameter."""
    answer = await api.get("/v1/stock", **query)

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), list(query))
