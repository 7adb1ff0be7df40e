"""Names as customers have them: every character that Lua patterns, key names or log lines could stumble over."""

from __future__ import annotations

import pytest

from gateway.hot.operations import parse_shortages
from tests.lua.warehouse import Warehouse, told, wish

SKUS = [
    "a/b", "/", "//x//", "100%", "%d%s%%", "%1", "é", "{x}", "}{", "{t}:1:", "🧦", "a b", "*", "?[a-z]", "^$", "(.-)", "\\n", "a\\tb",
    "'\"", "s:main/A", "0", "-1", "1e5", "nil", "\u2028x", "\u0085", "x" * 128, "ß" * 128,
    "🧦" * 128, "a,b", "E", "=cmd", "A|B", "main/A",
    "\ufeffx", "a\u200bb",
]  # fmt: skip
LOCATIONS = ["a.b-c_d", "0", "A" * 64, "x-1", "9", "Lmain", "X"]


@pytest.mark.parametrize("sku", SKUS)
async def test_name_of_a_sku_goes_through_everything(warehouse: Warehouse, sku: str) -> None:
    """Held, told short, swept, sold, reflected, adjusted, paused and settled: the name comes back as it went in."""
    await warehouse.stock(sku, 5, "a.b-c_d")
    held = await warehouse.hold(wish(sku, 2), reference=sku)
    short = await warehouse.run(warehouse.reserve(wish(sku, 9)))
    lost = await warehouse.hold(wish(sku, 1), ttl_ms=10)
    await warehouse.advance(10)
    swept = await warehouse.run(warehouse.expire())
    sold = told(await warehouse.run(warehouse.confirm(held)))
    await warehouse.run(warehouse.adjust(sku, 1, "a.b-c_d", reason=sku))
    await warehouse.run(warehouse.put(sku, "a.b-c_d", 4, reflects=[held.id]))
    await warehouse.run(warehouse.pause(sku, reason=sku))

    found = await warehouse.sku(sku)
    again = told(await warehouse.run(warehouse.read_reservation(lost.id)))
    events = await warehouse.remember()
    await warehouse.settle()

    assert (held.lines[0].sku, held.reference, sold.lines[0].sku, again.lines[0].sku) == (sku,) * 4
    assert parse_shortages(short.fields[0])[0].sku == sku
    assert swept.fields[0] == "1"
    assert (found.sku, found.reason, found.paused) == (sku, sku, True)
    assert found.levels["a.b-c_d"].on_hand == 4
    assert {fact[1] for event in events for fact in event.facts if fact[0] == "L"} == {sku}


async def test_names_all_at_once_stay_apart(warehouse: Warehouse) -> None:
    """All of them in one reservation: each its own level, each one unit less."""
    for n, sku in enumerate(SKUS):
        await warehouse.stock(sku, n + 1)

    held = await warehouse.hold(*[wish(sku, 1) for sku in SKUS])

    assert [line.sku for line in held.lines] == SKUS
    levels = [(await warehouse.level(sku)).available for sku in SKUS]
    assert levels == list(range(len(SKUS)))


async def test_name_with_a_slash_and_a_shop_do_not_meet(warehouse: Warehouse) -> None:
    """Sku "b/c" of shop "a" and sku "c" of no such shop: the shop ends at the first slash."""
    await warehouse.stock("b/c", 3, shop="a")
    await warehouse.stock("c", 7, shop="b")

    first = await warehouse.hold(wish("b/c", 1), shop="a")
    second = await warehouse.hold(wish("c", 1), shop="b")

    assert (first.shop, first.lines[0].sku) == ("a", "b/c")
    assert (second.shop, second.lines[0].sku) == ("b", "c")
    assert (await warehouse.level("b/c", shop="a")).available == 2


@pytest.mark.parametrize("location", LOCATIONS)
async def test_name_of_a_location(warehouse: Warehouse, location: str) -> None:
    """Every allowed character of a location, alone and in a list of preferences."""
    await warehouse.stock("A", 3, location)
    await warehouse.stock("A", 3, "zz")

    own = await warehouse.hold(wish("A", 1, location))
    listed = await warehouse.hold(wish("A", 1), locations=[location])
    first = await warehouse.hold(wish("A", 1), priority=f"nowhere,{location}")

    assert [r.lines[0].location for r in (own, listed, first)] == [location] * 3


async def test_names_of_locations_are_in_the_order_of_their_bytes(warehouse: Warehouse) -> None:
    """Whatever language the server was started in: a wish goes through them in the order in which Python and SQL list them."""
    names = ["b", "a", "B", "a-b", "ab", "A", "a.b", "a_b", "aB", "9", "10", "-x"]
    for name in names:
        await warehouse.stock("A", 1, name)

    held = await warehouse.hold(wish("A", len(names)))

    assert [line.location for line in held.lines] == sorted(names)
    assert list((await warehouse.sku("A")).levels) == sorted(names)


@pytest.mark.parametrize("text", ["%s%d", "é 🧦", "a  b", "'; DROP", "x" * 128])
async def test_free_texts_come_back(warehouse: Warehouse, text: str) -> None:
    """References, reasons and keys of any characters but control ones."""
    await warehouse.stock("A", 3)

    r = await warehouse.hold(wish("A", 1), reference=text)
    await warehouse.run(warehouse.release(r, reason=text))

    event = (await warehouse.remember())[-1]
    assert (r.reference, event.reason) == (text, text)


async def test_a_prefix_is_no_pattern(warehouse: Warehouse) -> None:
    """A key prefix with characters of glob and Lua patterns names its own keys only."""
    other = await Warehouse.open(warehouse.link, f"{warehouse.shard.prefix}.*[a]%")
    await other.stock("A", 3)
    await warehouse.stock("A", 5)

    await other.hold(wish("A", 3))

    assert (await warehouse.level("A")).available == 5
    assert (await other.level("A")).available == 0
    for key in await other.all_keys():
        await other.call("DEL", key)
