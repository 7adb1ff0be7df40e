"""The repair as entries of the log: one event for the shard with the operator's reason, and one per level and reservation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.event import REPAIRED, SHARD_REPAIRED, chain, parse_events
from gateway.hot.log import Entry
from gateway.service.repair_books import Fixes, LevelFix, ReservationFix

EVENTS_MAX: Final = 500  # of one entry


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which epoch the repair is made, when by the shard's clock, by whom and why."""

    epoch: int
    at_ms: int
    actor: str
    reason: str


def repair_entries(seq: int, digest: str, fixes: Fixes, circumstances: Circumstances) -> Iterator[Entry]:
    """The entries after (seq, digest), each chained to the one before."""
    makers: list[ReservationFix | LevelFix | None] = [None, *fixes.reservations, *fixes.levels]
    for at in range(0, len(makers), EVENTS_MAX):
        page = makers[at : at + EVENTS_MAX]
        payload = "\n".join(_event(seq + 1 + index, fix, circumstances) for index, fix in enumerate(page))
        seq, digest = seq + len(page), chain(digest, payload)
        yield Entry(seq, payload, digest, parse_events(payload))


def _event(seq: int, fix: ReservationFix | LevelFix | None, circumstances: Circumstances) -> str:
    if fix is None:
        return _head(seq, SHARD_REPAIRED, "", circumstances)
    if isinstance(fix, LevelFix):
        shop, sku, location = fix.place
        deltas = [right - told for told, right in zip(fix.told, fix.right, strict=True)]
        row = _row("L", sku, location, *fix.right, fix.version + 1, *deltas)
        return f"{_head(seq, REPAIRED, shop, circumstances)}\n{row}"
    head, *lines = fix.text.split("\n")
    fields = head.split("\t")
    fields[2:4] = [str(circumstances.epoch), str(seq)]  # the place of its last change, which is this one
    rows = [_row("R", fix.random_part, *fields), *[_row("I", line) for line in lines]]
    return "\n".join([_head(seq, REPAIRED, fields[9], circumstances), *rows])


def _head(seq: int, type: str, shop: str, circumstances: Circumstances) -> str:
    told = circumstances
    return _row("E", seq, told.epoch, type, told.at_ms, shop, told.actor, "", told.reason, "")


def _row(*fields: Sequence[str] | str | int) -> str:
    return "\t".join(map(str, fields))
