"""Garbage: a key that is of the right type and holds what none of our scripts wrote."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gateway.domain.reservation import parse_reservation
from gateway.domain.stock import parse_level

if TYPE_CHECKING:
    from gateway.hot.shard import Shard

#: Keys that are looked at for one call that broke off: it may be a fault of ours, met by every call.
NAMES_MAX: Final = 100


async def garbage_in(shard: Shard, names: Iterable[str]) -> str:
    """The first key of these names, or of those that they lead to, that holds garbage; empty where none was found.

    Names are those of scripts (`s:`, `r:`, `q:`); others are passed over, and so is what is not there. Raises HotStoreUnavailable.
    """
    waiting = deque(dict.fromkeys(names))
    for _ in range(NAMES_MAX):
        if not waiting:
            break
        name = waiting.popleft()
        try:
            waiting += await _read(shard, name)
        except (ValueError, KeyError):
            return shard.keys.named(name)
    return ""


async def _read(shard: Shard, name: str) -> list[str]:
    """The names that this one leads to. Raises ValueError or KeyError for garbage."""
    key, kind = shard.keys.named(name), name[:2]
    if kind == "s:":
        _read_sku(await shard.ask_list("HGETALL", key))
    elif kind in ("r:", "q:") and (told := await shard.ask("GET", key)) is not None:
        if kind == "r:":
            reservation = parse_reservation(shard.number, name[2:], str(told))
            return [f"s:{reservation.shop}/{line.sku}" for line in reservation.lines]
        _, _, target, epoch, seq = str(told).split("\t")
        int(epoch), int(seq)
        return [f"r:{target}"]
    return []


def _read_sku(flat: list[str]) -> None:
    if not flat:
        return
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    numbers, tab, _ = fields.pop("*").partition("\t")
    if not tab or len([int(number) for number in numbers.split(" ")]) != 5:
        raise ValueError(numbers)
    for field, text in fields.items():
        letter, location = field[:1], field[1:]
        if letter == "L":
            parse_level(location, text, fields.get(f"X{location}", ""))
        elif letter != "X" or f"L{location}" not in fields:
            raise ValueError(field)
