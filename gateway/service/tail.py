"""The tail of a log, which an opening finds in Redis beyond what is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.domain.errors import Corrupt, ShardRecovering
from gateway.domain.event import EntryInvalid
from gateway.durable.ledger import Ledger, ShardRow, TotalsDiffer
from gateway.flush.batches import build_batch, parts
from gateway.hot.log import Entry
from gateway.hot.meta import Meta
from gateway.service.halting import Halting

#: Entries that are committed at once.
PAGE: Final = 1000


def within(tail: list[Entry], ends: dict[int, int]) -> list[Entry]:
    """The tail up to where its epochs ended. What a server wrote beyond, with the shard open elsewhere, is told as lost."""
    for at, entry in enumerate(tail):
        if any(event.seq > ends.get(event.epoch, event.seq) for event in entry.events):
            return tail[:at]
    return tail


def reaches(tail: list[Entry], row: ShardRow, meta: Meta) -> bool:
    """Whether the committed history and the tail after it lead to exactly what meta says."""
    end = (tail[-1].seq, tail[-1].digest) if tail else (row.checkpoint, row.digest)
    return end == (meta.seq, meta.digest)


async def commit_tail(
    ledger: Ledger,
    halting: Halting,
    owner: str,
    raised: ShardRow,
    meta: Meta | None,
    tail: list[Entry],
    keep_claim: Callable[[], Awaitable[None]],
    *,
    is_compared: bool = True,
) -> None:
    """What the log has beyond the checkpoint is in the durable store, under the raised epoch.

    `keep_claim` is called with each page. `is_compared`: the totals that it tells must be the durable ones.

    Raises:
        ShardRecovering: another gateway has overtaken this one.
        ShardHalted: a checkpoint event in it told other totals than the durable store has.
        Corrupt: an entry cannot be read.
    """
    digest = raised.digest
    for page in [part[at : at + PAGE] for part in parts(tail) for at in range(0, len(part), PAGE)]:
        try:
            batch = await build_batch(raised.shard, raised.epoch, digest, page)
        except EntryInvalid as problem:
            raise Corrupt(f"the log cannot be read: {problem}") from problem
        if not is_compared:
            batch.totals.clear()
        try:
            is_ours = await ledger.append(batch, owner=owner)
        except TotalsDiffer as differing:
            await halting.halt(raised, meta, str(differing))
            raise
        if not is_ours:
            raise ShardRecovering("another gateway has overtaken this one")
        await keep_claim()
        digest = page[-1].digest
