"""The running totals beside the full sums of the levels, in either store: invariant 1 for a shard as a whole.

The flusher compares the two totals with each other. Here each is compared with what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.domain.stock import Level
from gateway.domain.totals import NOTHING, Totals, parse_totals
from gateway.durable.ledger import Books, EventRow, Ledger
from gateway.hot.shard import Shard
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_tail import Tail
from gateway.service.verdict import durable_read

EVENTS_PAGE = 2000


def check_durable_totals(books: Books, findings: Findings) -> None:
    """The durable totals are the sums over the durable levels, both of one snapshot."""
    for name, counted, summed in books.shard.totals.against(sums(books.levels.values())):
        findings.tell(
            1, "totals", f"durable {name}", f"the shard's row counts {counted}, its levels add up to {summed}"
        )


async def check_hot_totals(shard: Shard, ledger: Ledger, tail: Tail, books: Books, findings: Findings) -> None:
    """Redis' totals are the sums over the durable levels of the snapshot, and what the log has told since.

    Redis itself does not hold every level. Raises DurableStoreUnavailable when the flusher does not come to what Redis counts.
    """
    epoch, last, text = await shard.ask_list("HMGET", shard.keys.meta, "epoch", "seq", "totals")
    checkpoint = books.shard.checkpoint
    if epoch is None or int(last) < checkpoint or not await tail.is_committed(int(epoch), int(last)):
        return  # opened anew, or lost, since the snapshot was taken: the check itself finds that out
    expected, seq = sums(books.levels.values()), checkpoint
    while seq < int(last):
        page = await durable_read(ledger.read_events(shard.number, seq, min(EVENTS_PAGE, int(last) - seq)))
        if not page:
            return  # told as a gap
        expected = added(expected, *[delta for row in page for delta in _deltas(row)])
        seq = page[-1].seq
    try:
        counted = parse_totals(str(text))
    except ValueError:
        findings.tell(1, "totals", "redis", f"Redis counts {text!r}, which no script writes")
        return
    for name, told, summed in counted.against(expected):
        findings.tell(1, "totals", f"redis {name}", f"Redis counts {told} at seq {last}, the levels add up to {summed}")


def sums(levels: Iterable[Level]) -> Totals:
    """What the levels add up to."""
    return added(*[Totals(level.held, level.on_hand, level.committed, level.deducted) for level in levels])


def added(*totals: Totals) -> Totals:
    """All of them together."""
    return Totals(*map(sum, zip(NOTHING, *totals, strict=True)))


def _deltas(row: EventRow) -> Iterable[Totals]:
    """By what the event moved each of its levels."""
    for line in row.payload.split("\n"):
        if line.startswith("L\t"):
            on_hand, held, committed, deducted = map(int, line.split("\t")[9:13])
            yield Totals(held, on_hand, committed, deducted)
