"""The gateway's own scripts, called in Redis without a gateway: what they do alone, and very many holds in a short time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redis import Redis

from bench.failure import ServerFailure
from gateway.domain.command import Reserve, Wish
from gateway.domain.identifier import mint_random_part
from gateway.domain.stock import parse_level
from gateway.hot.keys import Keys
from gateway.hot.operations import reserve_text
from gateway.hot.scripts import Scripts
from gateway.paths import lua_dir

SHOP, ACTOR, LOCATION = "main", "bench", "main"
TTL_SECONDS = 86_400
BACKLOG_MAX = 1_000_000_000
GROUP = 20  # reserves of a call, about what a gateway under load gathers in a turn
PIPELINE = 16


@dataclass(frozen=True)
class Place:
    """A shard that a gateway has opened: the names of its keys, and the epoch under which it works."""

    keys: Keys
    epoch: int


def place_of(redis: Redis, prefix: str = "rg") -> Place:
    """The open shard of this Redis. Raises ServerFailure where there is none."""
    epoch, generation = redis.hmget(Keys(prefix, 0, 0).meta, "epoch", "gen")
    if not epoch or int(epoch) == 0:
        raise ServerFailure("the shard is not open")
    return Place(Keys(prefix, 0, int(generation or 0)), int(epoch))


def reserve(sku: str, random_part: str) -> str:
    """The operation that holds one unit for a day, as a gateway sends it for a request without a key."""
    command = Reserve([Wish(sku, 1)], "order", TTL_SECONDS)
    return reserve_text(
        command,
        shop=SHOP,
        actor=ACTOR,
        random_part=random_part,
        record="",
        ttl_ms=TTL_SECONDS * 1000,
        priority="",
        has_asked=False,
    )


def single_call(place: Place, sku: str, random_part: str) -> list[str]:
    """One reserve of one unit by its own script."""
    keys = place.keys
    named = [keys.meta, keys.log, keys.due, keys.reservation(random_part), keys.sku(SHOP, sku)]
    fixed = ["bench", str(place.epoch), "0", str(BACKLOG_MAX)]
    function = Scripts(lua_dir())["reserve"].function
    return ["FCALL", function, str(len(named)), *named, *fixed, reserve(sku, random_part)]


def group_calls(place: Place, count: int, sku_of: Callable[[int], str]) -> Iterator[list[str]]:
    """Reserves of one unit, `GROUP` in a call but for the last; `sku_of` names the sku of the n-th."""
    function, keys = Scripts(lua_dir())["group"].function, place.keys
    head = ["FCALL", function, "3", keys.meta, keys.log, keys.due, "bench", str(place.epoch), "0", str(BACKLOG_MAX)]
    for first in range(0, count, GROUP):
        numbers = range(first, min(first + GROUP, count))
        yield head + [reserve(sku_of(at), mint_random_part()) for at in numbers]


def hold(redis: Redis, count: int, sku_of: Callable[[int], str]) -> None:
    """So many more holds are open for a day, made as a gateway's groups make them. A gateway may serve meanwhile.

    Raises:
        ServerFailure: one of them was not reserved.
    """
    waiting: list[list[str]] = []
    for call in group_calls(place_of(redis), count, sku_of):
        waiting.append(call)
        if len(waiting) == PIPELINE:
            _send(redis, waiting)
            waiting = []
    _send(redis, waiting)


def held(redis: Redis, sku: str) -> int:
    """The units of the sku that open holds have, as its level in Redis says. Raises ServerFailure where it is not there."""
    text = redis.hget(place_of(redis).keys.sku(SHOP, sku), f"L{LOCATION}")
    if text is None:
        raise ServerFailure(f"{sku} is not in Redis")
    return parse_level(LOCATION, text.decode() if isinstance(text, bytes) else text).held


def backlog(redis: Redis, prefix: str = "rg") -> int:
    """Events in the log that the durable store does not have yet."""
    seq, checkpoint = redis.hmget(Keys(prefix, 0, 0).meta, "seq", "checkpoint")
    return int(seq or 0) - int(checkpoint or 0)


def _send(redis: Redis, calls: list[list[str]]) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command(*call)  # type: ignore[no-untyped-call]
        for answer in pipe.execute():
            statuses = {one[0] for one in answer[4:]} if answer[1] == b"GROUP" else {answer[1]}
            if statuses != {b"RESERVED"}:
                raise ServerFailure(f"a group of reserves answered {statuses}")
