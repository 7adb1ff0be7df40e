"""One run from the file to the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gateway.cli.play.holds import Holds
from gateway.cli.play.invoice import clock
from gateway.cli.play.journal import Journal, digest_of, read_journal
from gateway.cli.play.latency import Latencies
from gateway.cli.play.level import LevelKey, LevelRead
from gateway.cli.play.orders import Invoice, Orders, read_orders
from gateway.cli.play.outcome import Outcome
from gateway.cli.play.plan import Plan
from gateway.cli.play.report import Complaints, Report
from gateway.cli.play.share import play_share
from gateway.cli.play.start import load_start
from gateway.cli.play.tally import Tally
from gateway.cli.play.verdict import Inquest
from gateway.cli.play.watch import Watch
from gateway.cli.remote import connect


class Books:
    """Everything that outcomes are entered in."""

    def __init__(self, base: Mapping[LevelKey, LevelRead], journal: Journal | None) -> None:
        self.tally = Tally(base)
        self.holds = Holds()
        self.latencies = Latencies()
        self.complaints = Complaints()
        self.done: set[str] = set()
        self._journal = journal

    def enter(self, outcome: Outcome) -> None:
        """The outcome is counted, and in the state file."""
        if self._journal is not None:
            self._journal.add(outcome)
        self.enter_again(outcome)

    def enter_again(self, outcome: Outcome) -> None:
        """The outcome is counted; an earlier process wrote it down."""
        self.done.add(outcome.invoice)
        self.tally.add(outcome)
        self.holds.add(outcome)
        self.complaints.add(outcome.contradictions, outcome.refusals)
        for operation, seconds in outcome.timings:
            self.latencies.add(operation, seconds)

    def close(self) -> None:
        """The state file is complete so far."""
        if self._journal is not None:
            self._journal.close()


async def run(plan: Plan, path: Path, state: Path | None, watch_of: Callable[[Orders], Watch]) -> Report:
    """The orders of `path` were played by the plan, and every level was compared.

    With `state` a run that an earlier process could not finish goes on where it stopped.

    Raises:
        RemoteFailed: the run could not be finished; the message says why.
        FileUnreadable: the orders cannot be played.
    """
    with path.open("rb") as stream:
        orders = read_orders(stream)
    digest = digest_of(path) if state else ""
    earlier = read_journal(state, plan, digest) if state else None
    if earlier is not None:
        plan = replace(plan, run=earlier.run, is_resumed=True)
    async with connect(
        plan.url,
        plan.shop,
        key=plan.key,
        connections_max=plan.concurrency,
        patience_seconds=plan.patience_seconds,
    ) as remote:
        with watch_of(orders) as watch:
            await remote.probe()
            if earlier is None:
                watch.step("loading the start stock")
                base = await load_start(remote, plan, orders)
                books = Books(base, Journal.begin(state, plan, digest, base) if state else None)
            else:
                books = Books(earlier.base, Journal.resume(state) if state else None)
                for outcome in earlier.outcomes:
                    books.enter_again(outcome)
            try:
                return await _played(plan, orders, books, watch, Inquest(remote, plan, books.tally, books.holds))
            finally:
                books.close()


async def _played(plan: Plan, orders: Orders, books: Books, watch: Watch, inquest: Inquest) -> Report:
    waiting = [invoice for invoice in orders.invoices if invoice.number not in books.done]
    invoices_earlier, lines_earlier = books.tally.invoices, books.tally.lines
    begun = clock()

    def began() -> None:
        nonlocal begun
        begun = clock()

    def tell(outcome: Outcome) -> None:
        books.enter(outcome)
        watch.advance(books.tally)

    watch.step("playing")
    await _play(plan, waiting, tell, began)
    seconds = clock() - begun
    watch.step("waiting for abandoned holds, then comparing")
    verdict = await inquest.run()
    watch.step("done")
    return Report(
        plan,
        orders,
        books.tally,
        books.latencies,
        books.complaints,
        verdict,
        seconds,
        played_now=books.tally.invoices - invoices_earlier,
        lines_now=books.tally.lines - lines_earlier,
        invoices_earlier=invoices_earlier,
    )


async def _play(
    plan: Plan, invoices: list[Invoice], tell: Callable[[Outcome], None], started: Callable[[], None]
) -> None:
    if not invoices:
        return
    first_seconds = invoices[0].at_seconds
    if plan.processes == 1:
        await play_share(plan, invoices, first_seconds, tell)
        return
    # Not imported for a single process: it brings multiprocessing and its semaphores.
    from gateway.cli.play.workers import play_on_processes

    await play_on_processes(plan, invoices, first_seconds, tell, started)
