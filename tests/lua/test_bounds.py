"""No call works without bound: what a client can build up, one call on it stays short.

Times are the server's own processor time, so that what else the machine does counts little; the bounds are ten times what a
bounded call takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.hot.connection import SocketLink
from tests.lua.conftest import socket_link
from tests.lua.warehouse import Call, Warehouse, wish
from tests.servers import RedisServers

ONE_CALL_S_MAX = 0.15


@pytest.fixture
async def link(redis_servers: RedisServers) -> AsyncIterator[SocketLink]:
    """Valkey alone: the work is the same everywhere."""
    link = socket_link(redis_servers.url("valkey"))
    await link.start()
    yield link
    await link.close()


@pytest.fixture
def server_id() -> str:
    """As above."""
    return "valkey"


async def processor_s(warehouse: Warehouse) -> float:
    """What the server has worked since it was started."""
    told = dict(line.split(":") for line in (await warehouse.call("INFO", "cpu")).splitlines() if ":" in line)
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


async def seconds(warehouse: Warehouse, call: Call) -> tuple[str, float]:
    """The status of a call and how long the server worked on it."""
    began = await processor_s(warehouse)
    reply = await warehouse.raw(call)
    return reply[1], await processor_s(warehouse) - began


async def test_due_holds_of_many_lines_are_taken_back_in_short_calls(warehouse: Warehouse) -> None:
    """64 holds of 1000 lines each, all due: no single call takes them all back; the work is cut by lines."""
    skus = [f"S{n}" for n in range(1000)]
    for sku in skus:
        await warehouse.stock(sku, 64)
    for _ in range(64):
        await warehouse.hold(*[wish(sku, 1) for sku in skus], ttl_ms=1000)
    await warehouse.advance(1000)
    longest, calls, status = 0.0, 0, "MORE_DUE"

    while status == "MORE_DUE":
        status, took_s = await seconds(warehouse, warehouse.read_sku("S0"))
        longest, calls = max(longest, took_s), calls + 1

    print(f"longest of {calls} calls {longest * 1000:.0f} ms")
    assert status == "SKUS"
    assert longest < ONE_CALL_S_MAX
    assert {await warehouse.counters(sku) for sku in ("S0", "S999")} == {(64, 0, 0)}


@pytest.mark.parametrize("lines", [3, 300])
async def test_due_holds_are_swept_in_short_calls_whatever_their_lines(warehouse: Warehouse, lines: int) -> None:
    """The sweep is cut by lines, too: it takes back all that is due, in calls of which each is short."""
    skus = [f"S{n}" for n in range(lines)]
    for sku in skus:
        await warehouse.stock(sku, 100)
    for _ in range(100):
        await warehouse.hold(*[wish(sku, 1) for sku in skus], ttl_ms=1000)
    await warehouse.advance(1000)
    longest, calls, swept = 0.0, 0, 0

    while swept < 100:
        began = await processor_s(warehouse)
        answer = await warehouse.run(warehouse.expire(500))
        longest, calls = max(longest, await processor_s(warehouse) - began), calls + 1
        assert answer.fields[0] != "0"
        swept += int(answer.fields[0])

    print(f"longest of {calls} sweeps {longest * 1000:.0f} ms")
    assert (calls == 1) == (lines == 3)
    assert longest < ONE_CALL_S_MAX


async def test_due_holds_of_a_batch_are_taken_back_in_short_calls(warehouse: Warehouse) -> None:
    """Operations on many due holds of many lines are answered after short calls as well, as for expired ones."""
    skus = [f"S{n}" for n in range(300)]
    for sku in skus:
        await warehouse.stock(sku, 40)
    holds = [await warehouse.hold(*[wish(sku, 1) for sku in skus], ttl_ms=1000) for _ in range(40)]
    await warehouse.advance(1000)
    call, longest, status = warehouse.as_batch(*[warehouse.confirm(r) for r in holds]), 0.0, "MORE_DUE"

    while status == "MORE_DUE":
        status, took_s = await seconds(warehouse, call)
        longest = max(longest, took_s)

    print(f"longest call {longest * 1000:.0f} ms")
    assert status == "BATCH"
    assert longest < ONE_CALL_S_MAX
    assert await warehouse.counters("S0") == (40, 0, 0)


async def test_refusal_beside_many_large_holds_is_short(warehouse: Warehouse) -> None:
    """A reserve of many short lines, beside a hundred large holds at another location, is refused in a short call."""
    skus = [f"S{n}" for n in range(300)]
    for sku in skus:
        await warehouse.stock(sku, 1000, "a")
        await warehouse.stock(sku, 1, "b")
    for _ in range(100):
        await warehouse.hold(*[wish(sku, 1, "a") for sku in skus], ttl_ms=100_000)
    await warehouse.hold(*[wish(sku, 1, "b") for sku in skus], ttl_ms=200_000)

    status, took_s = await seconds(warehouse, warehouse.reserve(*[wish(sku, 1, "b") for sku in skus]))

    print(f"{took_s * 1000:.0f} ms")
    assert status == "OUT_OF_STOCK"
    assert took_s < ONE_CALL_S_MAX


async def test_sku_with_thousands_of_locations_poisons_nothing(warehouse: Warehouse) -> None:
    """However many levels a sku has, a hold over all of them is refused or made, never broken off after its log entry."""
    warehouse.is_damaged = True  # to make so many levels by put would take minutes: each answer tells all of them
    await warehouse.create("A")
    for at in range(0, 4200, 600):
        levels = [text for n in range(at, at + 600) for text in (f"Ll{n:04d}", "1 0 0 0 0 1 1 1 5")]
        await warehouse.call("HSET", warehouse.keys.sku("main", "A"), *levels)

    reply = await warehouse.raw(warehouse.reserve(wish("A", 4200)))

    assert reply[1] in ("RESERVED", "OUT_OF_STOCK")


async def test_many_holds_due_at_once_never_block_for_long(warehouse: Warehouse) -> None:
    """10,000 holds of one sku due at the same moment: every sweep stays short, and all come back."""
    await warehouse.stock("A", 10_000)
    calls = [warehouse.reserve(wish("A", 1), ttl_ms=1000) for _ in range(10_000)]
    for at in range(0, len(calls), 500):
        await warehouse.batch(*calls[at : at + 500])
    await warehouse.advance(1000)
    longest, swept = 0.0, 0

    while swept < 10_000:
        began = await processor_s(warehouse)
        answer = await warehouse.run(warehouse.expire(500))
        longest = max(longest, await processor_s(warehouse) - began)
        assert answer.fields[0] != "0"
        swept += int(answer.fields[0])

    print(f"longest sweep of 500 holds {longest * 1000:.0f} ms")
    assert longest < ONE_CALL_S_MAX
    assert await warehouse.counters("A") == (10_000, 0, 0)
