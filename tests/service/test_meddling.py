"""Somebody's hand in the keys of the shard: it is noticed, the shard is rebuilt, and nothing that is in the log is lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import GatewayError, ShardRecovering, Unavailable
from tests.service.gateway import Gateway

KINDS = ("meta", "log", "due", "sku", "holds", "reservation", "record")
LISTED = {"reservation", "record"}  # texts, which become a list; all else becomes a text


async def hold_and_keys(idle: Gateway) -> tuple[ReservationAnswer, dict[str, str]]:
    """Three of ten units are held under the key k1, all of it is committed; and the names of the shard's keys by kind."""
    await idle.put("tee", 10)
    held = await idle.reserve(("tee", 3), key="k1")
    await idle.flush()
    (record,) = await idle.keys("*:q:*")
    keys, id = idle.shard.keys, held.reservation.id.random_part
    names = {"meta": keys.meta, "log": keys.log, "due": keys.due, "record": record}
    names |= {"sku": keys.sku("main", "tee"), "holds": keys.holds("main", "tee"), "reservation": keys.reservation(id)}
    return held, names


async def test_key_of_another_type_is_what_the_caller_is_told(idle: Gateway) -> None:
    """Nothing happened, come again: it is no error of the caller, and none without an end."""
    await idle.put("tee", 10)
    await plant(idle, idle.shard.keys.sku("main", "tee"), "sku")

    with pytest.raises(ShardRecovering) as told:
        await idle.reserve(("tee", 1))

    assert told.value.outcome == "not_applied"


@pytest.mark.parametrize("kind", KINDS)
async def test_key_of_another_type_leads_to_a_rebuild(idle: Gateway, kind: str) -> None:
    """Whoever meets it is told to come again; then the shard is opened anew, and every hold and every unit is there."""
    held, names = await hold_and_keys(idle)
    await plant(idle, names[kind], kind)

    for _ in range(3):  # who stumbles over it closes the shard, the keeper opens it again
        with suppress(Unavailable):
            await idle.reserve(("tee", 3), key="k1")
            await idle.reserve(("tee", 1), key="k2")
            await idle.release(held)
        await idle.keep()

    assert idle.shard.epoch == 2
    level = await idle.level("tee")
    assert (level.on_hand, level.held) == (10, 1)
    await idle.flush()
    assert await idle.violations() == []


GARBAGE: dict[str, tuple[str, ...]] = {
    "a field that is not ours": ("sku", "HSET", "colour", "blue"),
    "its head": ("sku", "HSET", "*", "garbage"),
    "no head": ("sku", "HDEL", "*"),
    "a level": ("sku", "HSET", "Lmain", "ten"),
    "a level's time": ("sku", "HSET", "Lmain", "10 3 0 0 0 2 soon"),
    "a level's sources": ("sku", "HSET", "Xmain", "garbage"),
    "a reservation": ("reservation", "SET", "garbage"),
    "a reservation's state": ("reservation", "SETRANGE", "0", "z"),
    "a request record": ("record", "SET", "garbage"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_in_a_key_leads_to_a_rebuild(idle: Gateway, what: str) -> None:
    """The type is right, what it holds is not: nothing happens on such ground, the log names the key, and all comes back as it was."""
    held, names = await hold_and_keys(idle)
    kind, command, *arguments = GARBAGE[what]
    await idle.redis(command, names[kind], *arguments)
    entries = await idle.log_entries()

    seen: list[GatewayError] = []
    with capture_logs() as lines:
        for attempt in (
            lambda: idle.reserve(("tee", 3), key="k1"),
            lambda: idle.read(held),
            lambda: idle.level("tee"),
            lambda: idle.put("tee", 11, sequence=2),
            lambda: idle.release(held),
        ):
            try:
                await attempt()
            except GatewayError as told:
                seen.append(told)
                break

    assert [(type(told), told.outcome) for told in seen] == [(ShardRecovering, "not_applied")]
    assert [line["why"].split(" ")[0] for line in lines if line["event"] == "shard_condemned"] == [names[kind]]
    assert await idle.log_entries() == entries
    await idle.keep()
    assert idle.shard.epoch == 2
    assert (await idle.reserve(("tee", 3), key="k1")).reservation.id == held.reservation.id
    level = await idle.level("tee")
    assert (level.on_hand, level.held) == (10, 3)
    await idle.flush()
    assert await idle.violations() == []


@pytest.mark.parametrize("is_flushed", [False, True])
async def test_newest_entry_of_the_log_taken_away_leads_to_a_rebuild(idle: Gateway, is_flushed: bool) -> None:
    """Also where nobody writes any more, so that no gap ever shows: it is not waited for, and not taken for committed."""
    await idle.put("tee", 10)
    await idle.flush()
    await idle.put("tee", 11, sequence=2)
    if is_flushed:
        await idle.flush()
    await idle.redis("XDEL", idle.shard.keys.log, (await idle.log_entries())[-1][0])

    for _ in range(2):  # one turn notices it, the next opens the shard
        await idle.keep()

    assert idle.shard.epoch == 2
    assert (await idle.level("tee")).on_hand == (11 if is_flushed else 10)


async def plant(gateway: Gateway, key: str, kind: str) -> None:
    """The key holds another type than it should."""
    await gateway.redis("DEL", key)
    await gateway.redis(*(("RPUSH", key, "planted") if kind in LISTED else ("SET", key, "planted")))
