"""Somebody's hand in the keys of the shard while traffic flows: what is damaged is noticed and rebuilt, never skipped."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf, shuffled
from tests.faults.history import Call, random_part
from tests.faults.replicated import META, client_of
from tests.faults.request import Client, Request
from tests.faults.site import Site
from tests.faults.stores import parse_held
from tests.faults.traffic import ANSWER_SECONDS_MAX, ATTEMPTS_MAX

pytestmark = pytest.mark.faults

NOTICED_SECONDS_MAX: Final = 10.0
KINDS: Final = ("meta", "log", "due", "sku", "holds", "reservation")


async def until_reopened(site: Site, epoch: int, damage: Any) -> None:
    """The shard works under a later epoch. What nobody touches is not noticed, so it is damaged again and again."""
    end_s = time.monotonic() + NOTICED_SECONDS_MAX
    while (await site.committed())[0] == epoch:
        assert time.monotonic() < end_s, "nobody notices the damage"
        damage()
        await asyncio.sleep(0.3)


def base_of(client: Any) -> str:
    """What the names of all keys of the generation in use begin with. While meta is gone: of none."""
    return f"{{rg0}}:{client.hget(META, 'gen') if client.type(META) == 'hash' else 'none'}:"


async def test_log_damaged_by_hand_is_rebuilt_and_nothing_skipped(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """XTRIM to nothing, XDEL of an entry, XADD of one that is not ours, at the next number or far ahead: the durable store
    takes none of it for ours, and no number twice."""
    site = site_of(gateways=2)
    site.is_hot_lost = True

    async def broken(damage: str) -> None:
        with client_of(hot) as client:
            await until_reopened(site, (await site.committed())[0], lambda: damage_log(client, damage, rng))

    await site.ordeal(rng, broken, shuffled(rng, ["trimmed", "deleted", "foreign", "ahead"]), (0.5, 1.5))

    await site.verdict()


def damage_log(client: Any, damage: str, rng: random.Random) -> None:
    """The log of the generation in use has been meddled with."""
    log = f"{base_of(client)}log"
    newest = client.xrevrange(log, count=5)
    if not newest:
        return
    last = int(newest[0][0].split("-")[0])
    if damage == "trimmed":
        client.xtrim(log, maxlen=0, approximate=False)
    elif damage == "deleted":
        client.xdel(log, rng.choice(newest[:3])[0])
    else:
        seq = last + (1 if damage == "foreign" else rng.randint(100, 10_000))
        fields = rng.choice([{"e": "E\t1", "d": "0" * 40}, {"garbage": "x"}])
        client.execute_command(
            "XADD", log, f"{seq}-{rng.randint(0, 1)}", *[word for field in fields.items() for word in field]
        )


async def test_key_of_another_type_is_noticed_and_rebuilt(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """Any key of the shard becomes something else: who stumbles over it closes the shard, and it comes back as it was."""
    site = site_of(gateways=2)
    site.is_hot_lost = True

    async def broken(kind: str) -> None:
        with client_of(hot) as client:
            await until_reopened(site, (await site.committed())[0], lambda: plant(client, name_of(client, kind)))

    await site.ordeal(rng, broken, shuffled(rng, KINDS), (0.3, 1))

    await site.verdict()


def name_of(client: Any, kind: str) -> str | None:
    """The key of this kind that is touched soonest; None where there is none at the moment."""
    base = base_of(client)
    due = client.zrange(f"{base}due", 0, 0) if client.type(f"{base}due") == "zset" else []
    if kind in {"meta", "log", "due"}:
        return {"meta": META, "log": f"{base}log", "due": f"{base}due"}[kind]
    if not due:
        return None
    if kind in {"sku", "holds"}:
        return f"{base}{kind[0] if kind == 'sku' else 'd'}:{due[0]}"
    held = client.zrange(f"{base}d:{due[0]}", 0, 0)
    return f"{base}r:{held[0]}" if held else None


def plant(client: Any, name: str | None) -> None:
    """The key, if it is there, is a list."""
    if name is None:
        return
    script = "if redis.call('DEL', KEYS[1]) == 1 then redis.call('RPUSH', KEYS[1], 'planted') end"
    client.eval(script, 1, name)


async def test_request_record_of_another_type_does_not_cost_the_answer(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """What an idempotency key did is damaged: the same request again gets the same reservation, from the durable store."""
    site = site_of()
    site.is_hot_lost = True

    async def broken(turn: int) -> None:
        epoch = (await site.committed())[0]
        async with site.client(f"keeper{turn}") as client:
            request = Request(
                "reserve", {"lines": [{"sku": "a", "quantity": 1}], "reference": f"k{turn}"}, f"k{turn}", ack="durable"
            )
            first = await until_done(client, request, site)
            with client_of(hot) as redis_client:
                base = base_of(redis_client)
                held = parse_held("", str(redis_client.get(f"{base}r:{random_part(first.told['id'])}")))
                plant(redis_client, f"{base}q:{held.record}")
            again = await until_done(client, request, site, attempt=2)
        assert again.told["id"] == first.told["id"]
        assert (await site.committed())[0] > epoch, "the damage was not noticed"

    await site.ordeal(rng, broken, range(3), (0.5, 1.5))

    await site.verdict()


async def until_done(client: Client, request: Request, site: Site, *, attempt: int = 1) -> Call:
    """The call that succeeded, after as many as it takes."""
    for number in range(attempt, attempt + 2 * ATTEMPTS_MAX):
        call = await client.send(request, site.addresses[0], attempt=number, seconds=ANSWER_SECONDS_MAX)
        if call.is_done:
            return call
        assert call.answer is None or call.answer.status == 503, call
        await asyncio.sleep(0.2)
    raise AssertionError(f"{request} was never answered")
