"""After the sale: what the gateway's books say, held against the independent count."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from gateway.cli.answer import Answer, GaveUp, RemoteFailed
from gateway.cli.play.crowd import crowd
from gateway.cli.play.invoice import clock
from gateway.cli.play.level import LevelRead
from gateway.cli.remote import Remote, segment
from gateway.cli.sale.buyer import Stage, settle, settle_payment
from gateway.cli.sale.goods import Goods
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.promises import HELD, LOST, SOLD, Promises
from gateway.cli.sale.shelf import Shelf
from gateway.cli.sale.verdict import Verdict, Violation

AT_ONCE = 16
POLL_SECONDS = 0.2
CONSERVATION_SECONDS_MAX = 600.0
#: States in which a reservation counts as sold.
SOLD_STATES = frozenset({"confirmed", "fulfilled"})
UNSOLD_STATES = frozenset({"held", "expired"})


class Inquest:
    """The questions at the end of a sale, in order; each adds to the verdict."""

    def __init__(self, stage: Stage, goods: Goods) -> None:
        self.verdict = Verdict(units=stage.plan.units_total)
        self._stage = stage
        self._remote: Remote = stage.remote
        self._plan: Plan = stage.plan
        self._promises: Promises = stage.promises
        self._goods = goods
        self._read: set[str] = set()

    async def run(self) -> Verdict:
        """All questions were asked.

        Raises:
            RemoteFailed: the gateway could not be asked; `verdict` holds what was found before.
        """
        await self._resolve()
        # Before the levels: a hold that was lost with the hot store is told so here alone, and explains its unit there.
        await self._search()
        await self._read_missing()
        await self._compare_levels()
        await self._ask_conservation()
        self._judge_answers()
        verdict = self.verdict
        verdict.sold = self._promises.sold
        verdict.refused = self._stage.figures.results["refused"] + self._stage.figures.results["bot_refused"]
        verdict.refusal = self._stage.figures.refusal
        verdict.is_known = not verdict.unknown and not verdict.refusal
        return verdict

    async def _resolve(self) -> None:
        """Every try and every payment without a final answer is asked again, under the same key."""
        tries = iter(list(self._promises.unknown.values()))
        payments = iter([id for id, hold in self._promises.holds.items() if hold.is_paying])

        async def resolver() -> None:
            for asked in tries:
                await self._ask_again(asked.sku, asked.owner)
            for id in payments:
                await self._pay_again(id)

        await crowd(AT_ONCE, resolver)

    async def _ask_again(self, sku: int, owner: str) -> None:
        try:
            answer = await self._stage.reserve(sku, owner)
        except GaveUp:
            self.verdict.unknown += 1
            return
        settle(self._stage, self._promises.unknown[owner], [answer])
        self.verdict.resolved += 1

    async def _pay_again(self, id: str) -> None:
        try:
            answer = await self._stage.confirm(id)
        except GaveUp:
            self.verdict.unknown += 1
            return
        settle_payment(self._promises, id, [answer])
        self.verdict.resolved += 1

    async def _compare_levels(self) -> None:
        """Each level is what the answers add up to. A hold that falls due just now may be swept a moment later, so a level that
        holds too many is read again for a while; whatever else differs will not go away.
        """
        end = clock() + self._plan.settle_seconds_max
        while True:
            # The most before the reading and the least after it: what fell due meanwhile is in between.
            self._promises.advance()
            held_max = [shelf.held_max for shelf in self._promises.shelves]
            levels = await self._goods.levels()
            self._promises.advance()
            wrong: list[Violation] = []
            late: list[Violation] = []
            for most, shelf, (sku, level) in zip(held_max, self._promises.shelves, levels.items(), strict=True):
                wrong += self._lasting(sku, shelf, level)
                if level is not None and not self.verdict.unknown and not shelf.held_min <= level.held <= most:
                    words = f"{level.held} units are held in the books, {shelf.held_min} to {most} by the answers"
                    late.append(Violation("books", sku, words))
            if wrong or not late or clock() > end:
                break
            await asyncio.sleep(POLL_SECONDS)
        verdict = self.verdict
        for each in (*wrong, *late):
            verdict.add(each.kind, each.where, each.detail)
        known = [level for level in levels.values() if level is not None]
        verdict.held = sum(level.held for level in known)
        verdict.available = sum(level.available for level in known)
        verdict.committed = sum(level.committed for level in known)
        verdict.checked["levels"] = len(levels)

    def _lasting(self, sku: str, shelf: Shelf, level: LevelRead | None) -> Iterator[Violation]:
        """What is wrong with the level, and no waiting mends."""
        if level is None:
            yield Violation(
                "lost_unit", sku, f"the gateway does not know the sku any more, {shelf.units} units are gone"
            )
            return
        if level.on_hand != shelf.units:
            yield Violation("lost_unit", sku, f"on_hand is {level.on_hand}, and {shelf.units} units were put")
        total = level.committed + level.held + level.available
        if total != shelf.units:
            kind = "oversold" if total > shelf.units else "lost_unit"
            parts = f"confirmed {level.committed} + held {level.held} + available {level.available}"
            yield Violation(kind, sku, f"{parts} is {total}, and there are {shelf.units} units")
        if level.committed > shelf.units:
            yield Violation("oversold", sku, f"{level.committed} units are confirmed of {shelf.units}")
        if level.committed != shelf.sold and not self.verdict.unknown:
            words = f"{level.committed} units are confirmed in the books, {shelf.sold} by the answers"
            yield Violation("books", sku, words)

    async def _search(self) -> None:
        """Every reservation in the books is one that was answered, reads as it was answered, and holds what was asked for."""
        seen: Counter[str] = Counter()
        for found in await self._goods.search():
            id, state = str(found.get("id")), str(found.get("state"))
            seen[id] += 1
            hold = self._promises.holds.get(id)
            if hold is None:
                if not self.verdict.unknown:
                    self.verdict.add("two_effects", id, f"is in the books as {state}, and no answer named it")
                continue
            self._judge_state(id, state)
            lines = found.get("lines")
            told = [(line.get("sku"), line.get("quantity")) for line in lines] if isinstance(lines, list) else []
            if told != [(self._plan.sku(hold.sku), 1)]:
                self.verdict.add("books", id, f"holds {told}, and 1 of {self._plan.sku(hold.sku)} was asked for")
        for id, count in seen.items():
            if count > 1:
                self.verdict.add("books", id, f"is listed {count} times")
        self.verdict.checked["reservations_searched"] = len(seen)

    async def _read_missing(self) -> None:
        """What the search did not show (it reads the durable store, which may lag) or showed otherwise is read by its id."""
        missing = [id for id in self._promises.holds if id not in self._read]
        waiting = iter(missing)

        async def reader() -> None:
            for id in waiting:
                answer = await self._remote.get(f"/v1/reservations/{segment(id)}")
                self._judge_read(id, answer)

        await crowd(AT_ONCE, reader)
        self.verdict.checked["reservations_read"] = len(missing)

    def _judge_read(self, id: str, answer: Answer) -> None:
        hold = self._promises.holds[id]
        if answer.is_success:
            if not self._judge_state(id, str(answer.body.get("state"))):
                words = f"was answered as {hold.state}, and reads {answer.body.get('state')}"
                self.verdict.add("books", id, words)
        elif answer.code == "reservation_lost" and hold.state != SOLD:
            self._promises.lost(id)
        else:
            self.verdict.add("books", id, f"was answered as {hold.state}, and reads {answer.code}")

    def _judge_state(self, id: str, state: str) -> bool:
        """Whether the state is what the answers say; only then it is not asked for again. A row of the durable store may be older
        than its answer where that did not wait for the commit, which a sale always does.
        """
        hold = self._promises.holds[id]
        is_right = state in (SOLD_STATES if hold.state == SOLD else UNSOLD_STATES)
        if state == "expired" and clock() < hold.earliest:
            is_right = False
        if is_right:
            self._read.add(id)
        return is_right

    async def _ask_conservation(self) -> None:
        """The gateway's own check of its books, where the key allows it."""
        if not self._plan.has_conservation:
            self.verdict.not_checked.append("conservation: not wanted (--no-conservation)")
            return
        try:
            answer = await self._remote.glance("/v1/admin/conservation", seconds_max=CONSERVATION_SECONDS_MAX)
        except RemoteFailed as exc:
            self.verdict.not_checked.append(f"conservation: {exc}")
            return
        violations = answer.body.get("violations")
        if not answer.is_success or not isinstance(violations, list):
            self.verdict.not_checked.append(f"conservation: {answer.explain() or 'the answer lists no violations'}")
            return
        for violation in violations:
            told = violation if isinstance(violation, dict) else {"detail": violation}
            words = " ".join(str(told.get(name, "")) for name in ("invariant", "kind", "detail"))
            self.verdict.add("conservation", str(told.get("where", "")), words.strip())
        self.verdict.checked["conservation"] = 1

    def _judge_answers(self) -> None:
        """What the answers alone prove."""
        promises, verdict = self._promises, self.verdict
        for index, shelf in enumerate(promises.shelves):
            if shelf.sold > shelf.units:
                verdict.add("oversold", self._plan.sku(index), f"{shelf.sold} units were sold of {shelf.units}")
            elif shelf.oversold:
                words = f"{shelf.sure_max} units of {shelf.units} were promised at one moment"
                verdict.add("oversold", self._plan.sku(index), words)
        for owner, ids in promises.doubled_keys.items():
            if sum(promises.holds[id].state != LOST for id in ids) > 1:
                verdict.add("two_effects", f"key {owner}", f"made {' and '.join(sorted(ids))}")
        for kind, words in promises.contradictions.kept:
            verdict.add(kind, "answers", words)
        verdict.violations_count += promises.contradictions.count - len(promises.contradictions.kept)
        verdict.lost_holds = sum(hold.state == LOST for hold in promises.holds.values())
        verdict.holds = len(promises.holds)
        verdict.open_holds = sum(hold.state == HELD and hold.is_alive for hold in promises.holds.values())
