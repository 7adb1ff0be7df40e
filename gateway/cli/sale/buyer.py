"""One of the crowd on its way: reserve, pay or walk away, and each request perhaps twice with the same key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.cli.answer import Answer, AnswerUnreadable, GaveUp
from gateway.cli.play.invoice import clock
from gateway.cli.remote import Remote, segment
from gateway.cli.sale.crowd_member import CrowdMember
from gateway.cli.sale.figures import Figures
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.promises import HELD, Asked, Promises

SOLD_OUT = "out_of_stock"


class Stage:
    """What all buyers of a sale share. `under_way` counts requests that have no answer yet."""

    def __init__(self, remote: Remote, plan: Plan, promises: Promises, figures: Figures) -> None:
        self.remote = remote
        self.plan = plan
        self.promises = promises
        self.figures = figures
        self.under_way = 0

    async def reserve(self, sku: int, owner: str) -> Answer:
        """The answer to asking for one unit under this key.

        Raises:
            GaveUp: there is no final answer.
        """
        body = {
            "lines": [{"sku": self.plan.sku(sku), "quantity": 1}],
            "ttl_seconds": self.plan.ttl_seconds,
            "reference": self.plan.run,
            # A bot keeps its name over all its tries.
            "customer": owner.rpartition(".")[0],
        }
        return await self._sent(self.remote.post("/v1/reservations", body, key=owner))

    async def confirm(self, id: str) -> Answer:
        """The answer to paying.

        Raises:
            GaveUp: there is no final answer.
        """
        return await self._sent(self.remote.post(f"/v1/reservations/{segment(id)}/confirm", {}))

    async def _sent(self, call: Awaitable[Answer]) -> Answer:
        if self.under_way >= self.plan.connections:
            self.figures.queued += 1
        self.under_way += 1
        try:
            return await call
        finally:
            self.under_way -= 1


class Buyer:
    """One member of the crowd, whose first request was due at `intended`."""

    def __init__(self, stage: Stage, member: CrowdMember, intended: float) -> None:
        self._stage = stage
        self._member = member
        self._intended = intended

    async def run(self) -> None:
        """It has bought, walked away, been refused, or lost sight of its request; all is in the figures and the promises.

        Raises:
            AnswerUnreadable: an answer lacks what the contract promises.
        """
        if self._member.is_bot:
            await self._hammer()
            return
        result, id = await self._try(0, self._intended, "reserve", is_doubled=self._member.has_duplicate_reserve)
        if result == HELD:
            result = "abandoned"
            if not self._member.is_abandoning:
                await asyncio.sleep(self._member.pay_seconds)
                result = await self._pay(id)
        self._stage.figures.ended(result)

    async def _hammer(self) -> None:
        """As fast as the answers come, under a new key each time, and whatever they say."""
        for attempt in range(self._stage.plan.bot_tries):
            is_first = attempt == 0
            intended = self._intended if is_first else clock()
            doubled = is_first and self._member.has_duplicate_reserve
            result, _ = await self._try(attempt, intended, "bot_reserve", is_doubled=doubled)
            self._stage.figures.ended(f"bot_{result}")

    async def _try(self, attempt: int, intended: float, operation: str, *, is_doubled: bool) -> tuple[str, str]:
        """What came of one try (held, sold_out, refused or unknown), and the id of the hold."""
        stage, owner = self._stage, self._stage.plan.request_key(self._member.number, attempt)
        asked = stage.promises.asks(self._member.sku, owner)
        stage.figures.due(intended, is_bot_again=attempt > 0)
        try:
            answers = await self._asked(
                operation, intended, lambda: stage.reserve(self._member.sku, owner), is_doubled=is_doubled
            )
        except GaveUp:
            stage.promises.lost_sight(asked)
            return "unknown", ""
        return settle(stage, asked, answers)

    async def _pay(self, id: str) -> str:
        stage, intended = self._stage, clock()
        stage.promises.pays(id)
        try:
            answers = await self._asked(
                "confirm", intended, lambda: stage.confirm(id), is_doubled=self._member.has_duplicate_confirm
            )
        except GaveUp:
            return "unknown"
        return settle_payment(stage.promises, id, answers)

    async def _asked(
        self, operation: str, intended: float, call: Callable[[], Awaitable[Answer]], *, is_doubled: bool
    ) -> list[Answer]:
        """The answer to the call, or both answers where it is sent twice: the one that came last stands last."""
        figures = self._stage.figures
        answers: list[Answer] = []

        async def send(as_what: str, due: float) -> None:
            answer = await call()
            answers.append(answer)
            figures.took(as_what, answer.code, due)

        if not is_doubled:
            await send(operation, intended)
        elif self._member.is_concurrent:
            both = (send(operation, intended), send("duplicate", intended))
            for failure in await asyncio.gather(*both, return_exceptions=True):
                if failure is not None:
                    raise failure
        else:
            await send(operation, intended)
            await send("duplicate", clock())
            if answers[0].is_success and not answers[1].is_success:
                self._stage.promises.contradictions.add(
                    "forgotten_key",
                    f"a {operation} that had succeeded was answered {answers[1].code} when it was repeated",
                )
        return answers


def settle(stage: Stage, asked: Asked, answers: list[Answer]) -> tuple[str, str]:
    """The answers to one key are counted: (held, sold_out or refused; the id of the hold).

    Raises:
        AnswerUnreadable: a success without an id.
    """
    promises = stage.promises
    granted = [answer for answer in answers if answer.is_success]
    if granted:
        ids = [_id(answer) for answer in granted]
        promises.granted(asked, ids[0], str(granted[0].body.get("state", HELD)))
        stage.figures.granted()
        if len(set(ids)) > 1:
            promises.doubled(asked, set(ids))
        return HELD, ids[0]
    if all(answer.code == SOLD_OUT for answer in answers):
        promises.refused(asked)
        return "sold_out", ""
    promises.dropped(asked)
    stage.figures.refuse(next(answer.explain() for answer in answers if answer.code != SOLD_OUT))
    return "refused", ""


def settle_payment(promises: Promises, id: str, answers: list[Answer]) -> str:
    """The answers to a confirm are counted: sold, paid_too_late, lost or refused."""
    codes = {answer.code for answer in answers}
    if "" in codes:
        promises.confirmed(id)
        for answer in answers:
            if answer.is_success and (answer.body.get("id") != id or answer.body.get("state") != "confirmed"):
                told = f"{answer.body.get('id')} {answer.body.get('state')}"
                promises.contradictions.add("wrong_sale", f"the confirm of {id} was answered with {told}")
        return "sold"
    if "reservation_lost" in codes:
        promises.lost(id)
        return "lost"
    if "reservation_expired" in codes:
        promises.expired(id)
        return "paid_too_late"
    # The hold is this buyer's alone: nobody else can have ended it, and an id that was given out must be known.
    promises.holds[id].is_paying = False
    promises.contradictions.add("wrong_refusal", f"the confirm of {id} was answered {', '.join(sorted(codes))}")
    return "refused"


def _id(answer: Answer) -> str:
    id = answer.body.get("id")
    if not isinstance(id, str) or not id:
        raise AnswerUnreadable(f"a reservation without an id: {str(answer.body)[:200]}")
    return id
