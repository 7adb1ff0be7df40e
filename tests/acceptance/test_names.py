"""Names: shops, locations, channels and tiers are plain; skus, references and customers are any Unicode."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.acceptance.client import Client

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

PLAIN = ["a", "A", "0", "a.b", "a-b", "a_b", "main", "9.9", "x" * 64, "A..-__"]
NOT_PLAIN = ["", ".a", "-a", "_a", "a b", " a", "a/b", "é", "x" * 65, "a\n", "a:b", "a{b}", "a*", "日本", "a\u0000"]
FREE = [
    "a/b",
    "é",
    "100%",
    "😀",
    "👩‍👩‍👧‍👦",
    "a b",
    "..",
    ".",
    "a?b=c&d#e",
    "a+b",
    "%2F",
    "%",
    "{tag}",
    "a:b:c",
    "a\\b",
    '"quoted"',
    "'; DROP TABLE levels; --",
    "<script>",
    "日本語",
    "עברית",
    "e\u0301",
    "a\u2028b",
    "a\u00a0b",
    "a\u200bb",
    "null",
    "pause",
    "query",
    "__proto__",
    "x" * 128,
    "é" * 128,
    "😀" * 128,
]
NOT_FREE = ["", " ", " a", "a ", "a\n", "\ta", "a\u0000b", "a\u001fb", "a\u007fb", "a\u0085b", "x" * 129, "😀" * 129]


@pytest.mark.parametrize("sku", FREE)
async def test_sku_of_any_unicode_lives_a_whole_life(api: Client, sku: str) -> None:
    """Percent-encoded in paths, plain in bodies, and answered exactly as it was written."""
    await api.stock_up(sku, 5)

    held = await api.hold(sku, 2, reference=sku, customer=sku)
    await api.done("confirm", held["id"])
    adjusted = await api.adjust(sku, 1, "k")
    queried = await api.post("/v1/stock/query", {"skus": [sku]})
    listed = await api.get("/v1/reservations", sku=sku, reference=sku, customer=sku)
    paused = await api.post(f"/v1/stock/{quote(sku, safe='')}/pause")

    assert (held["lines"][0]["sku"], held["reference"], held["customer"]) == (sku, sku, sku)
    assert (adjusted.body["sku"], adjusted.body["on_hand"]) == (sku, 6)
    assert [stock["sku"] for stock in queried.body["stock"]] == [sku]
    assert [reservation["id"] for reservation in listed.body["reservations"]] == [held["id"]]
    assert paused.body["sku"] == sku
    assert (await api.stock(sku))["sku"] == sku


async def test_skus_that_look_alike_are_different(api: Client) -> None:
    """Case, normal form and percent signs make another sku: nothing is folded."""
    skus = ["a", "A", "\u00e9", "e\u0301", "a%20b", "a b", "a+b", "a%2Fb", "a/b"]
    for units, sku in enumerate(skus, 1):
        await api.stock_up(sku, units)

    found = [(await api.stock(sku))["on_hand"] for sku in skus]

    assert found == list(range(1, len(skus) + 1))


@pytest.mark.parametrize("sku", NOT_FREE)
async def test_sku_that_is_no_name_is_refused(api: Client, sku: str) -> None:
    """In a body the field is named; in a path it is a refusal of ours, never a failure."""
    await api.stock_up("A", 5)

    reserved = await api.reserve((sku, 1))
    queried = await api.post("/v1/stock/query", {"skus": ["A", sku]})
    put = await api.call("PUT", f"/v1/stock/{quote(sku, safe='')}/main", {"source": "erp", "sequence": 1, "on_hand": 1})

    assert (reserved.outcome, reserved.fields) == ((422, "invalid_request"), ["lines[0].sku"])
    assert (queried.outcome, queried.fields) == ((422, "invalid_request"), ["skus[1]"])
    assert put.status in ({404, 405, 422} if not sku else {422}), put.text


@pytest.mark.parametrize("name", NOT_FREE)
@pytest.mark.parametrize("field", ["reference", "customer"])
async def test_reference_and_customer_keep_the_rule_of_skus(api: Client, field: str, name: str) -> None:
    """1..128 characters, no control characters, no space at either end."""
    await api.stock_up("A", 5)

    answer = await api.reserve(("A", 1), **{field: name})

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), [field])


@pytest.mark.parametrize("name", PLAIN)
async def test_plain_name_is_taken_for_shop_location_and_channel(api: Client, name: str) -> None:
    """Letters, digits, dot, underscore and hyphen, 1..64, the first one a letter or digit."""
    shop = f"{api.shop}-{name}"[:64]
    client = api.for_shop(shop)
    await client.stock_up("A", 5, name)

    answer = await client.reserve(("A", 1, name), channel=name)

    assert answer.status == 201
    assert (answer.body["shop"], answer.body["channel"], answer.body["lines"][0]["location"]) == (shop, name, name)


@pytest.mark.parametrize("name", NOT_PLAIN)
async def test_other_name_is_refused_for_shop_location_channel_and_tier(api: Client, name: str) -> None:
    """Each field that is a plain name is named in the refusal, in a body, in the query and in a path."""
    await api.stock_up("A", 5)
    line = {"sku": "A", "quantity": 1}
    level = {"source": "erp", "sequence": 1, "on_hand": 1}

    answers = {
        "channel": await api.reserve(line, channel=name),
        "tier": await api.reserve(line, tier=name),
        "lines[0].location": await api.reserve(line | {"location": name}),
        "locations[0]": await api.reserve(line, locations=[name]),
        "shop": await api.for_shop(None).reserve(line, shop=name),
    }
    by_query = await api.for_shop(name).get("/v1/stock/A")
    by_path = await api.call("PUT", f"/v1/stock/A/{quote(name, safe='')}", level)

    assert {field: (answer.outcome, answer.fields) for field, answer in answers.items()} == {
        field: ((422, "invalid_request"), [field]) for field in answers
    }
    assert by_query.outcome == (422, "invalid_request")
    assert by_path.status in ({404, 405, 422} if not name else {422})
    assert [level["location"] for level in (await api.stock("A"))["locations"]] == ["main"]
