"""Playing one invoice: reserve all its lines, then confirm or walk away; and book what came back."""

from __future__ import annotations

import time
from typing import Any

from gateway.cli.answer import Answer, AnswerUnreadable
from gateway.cli.play import outcome as result
from gateway.cli.play.orders import RETURN, Adjustment, Invoice
from gateway.cli.play.outcome import Move, Outcome
from gateway.cli.play.plan import Plan
from gateway.cli.remote import Remote, segment

#: The two clocks that judge an early expiry, ours and Redis', are read at different moments and tick in
#: milliseconds.
EARLY_SECONDS = 0.05

clock = time.monotonic


class Play:
    """One invoice on its way. Every request is repeated until it is answered, so `run` knows what became of
    each.
    """

    def __init__(self, remote: Remote, plan: Plan, invoice: Invoice, intended: float) -> None:
        """`intended` is when the first request should start, by the monotonic clock; its latency counts from
        there.
        """
        self._remote = remote
        self._plan = plan
        self._invoice = invoice
        self._started = intended
        self._outcome = Outcome(invoice.number)
        self._was_durable = False

    async def run(self) -> Outcome:
        """The invoice was played to its end.

        Raises:
            GaveUp: a request had no final answer; what became of it is not known.
            AnswerUnreadable: an answer lacks what the contract promises.
        """
        if self._invoice.lines:
            await self._order()
        for adjustment in self._invoice.adjustments:
            await self._adjust(adjustment)
        return self._outcome

    async def _order(self) -> None:
        outcome, invoice = self._outcome, self._invoice
        body: dict[str, object] = {
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in invoice.lines],
            "ttl_seconds": self._plan.ttl_seconds,
            "reference": invoice.number,
        }
        if invoice.customer:
            body["customer"] = invoice.customer
        outcome.lines = len(invoice.lines)
        sent = clock()
        answer = await self._remote.post(
            "/v1/reservations", body, key=self._plan.request_key(invoice.number, "reserve")
        )
        self._measure("reserve", answer)
        if answer.code == "out_of_stock":
            outcome.result = result.SOLD_OUT
            return
        if not answer.is_success:
            self._refuse("reserve", answer)
            return
        outcome.id = _text(answer.body, "id")
        outcome.skus = sorted({sku for sku, _ in invoice.lines})
        self._was_durable = answer.body.get("durable") is True
        # The hold was made after the first attempt left and before the last answer came; in a resumed run
        # perhaps long before.
        outcome.deadline_earliest = 0.0 if self._plan.is_resumed else sent + self._plan.ttl_seconds
        outcome.deadline_latest = clock() + self._plan.ttl_seconds
        held = moves(answer.body)
        self._compare("reserve", held)
        if self._plan.is_abandoned(invoice.number):
            outcome.result = result.ABANDONED
        else:
            await self._confirm(held)

    async def _confirm(self, held: list[Move]) -> None:
        outcome = self._outcome
        self._started = clock()
        answer = await self._remote.post(f"/v1/reservations/{segment(outcome.id)}/confirm", {"fulfil": True})
        self._measure("confirm", answer)
        if answer.is_success:
            outcome.result = result.FULFILLED
            outcome.sold = moves(answer.body)
            if answer.body.get("id") != outcome.id or answer.body.get("state") != "fulfilled":
                self._contradict(f"confirm answered {answer.body.get('id')} {answer.body.get('state')}")
            if sorted(outcome.sold) != sorted(held):
                self._contradict(f"confirm answered other lines than reserve: {outcome.sold} after {held}")
        elif answer.code == "reservation_expired":
            outcome.result = result.EXPIRED
            if clock() < outcome.deadline_earliest - EARLY_SECONDS:
                self._contradict("confirm answered reservation_expired before the hold's time was over")
        elif answer.code == "reservation_lost":
            outcome.result = result.LOST
            if self._was_durable:
                self._contradict("a hold that was answered as durable is lost")
        else:
            # The hold is ours alone: nobody else can have released it, and an id that was given out must be
            # known.
            self._refuse("confirm", answer)
            self._contradict(f"confirm of a live hold answered {answer.explain()}")

    async def _adjust(self, adjustment: Adjustment) -> None:
        outcome, plan = self._outcome, self._plan
        path = f"/v1/stock/{segment(adjustment.sku)}/{segment(plan.location)}/adjust"
        body: dict[str, object] = {
            "delta": adjustment.delta,
            "reason": adjustment.reason,
            "reference": self._invoice.number,
        }
        if outcome.timings:
            self._started = clock()
        answer = await self._remote.post(
            path, body, key=plan.request_key(self._invoice.number, f"line-{adjustment.line}")
        )
        self._measure("adjust", answer)
        if answer.is_success:
            outcome.adjusted.append((adjustment.sku, plan.location, adjustment.delta))
            outcome.count(result.RETURNED if adjustment.reason == RETURN else result.CORRECTED)
        elif answer.code == "insufficient_on_hand":
            outcome.count(result.INSUFFICIENT)
        else:
            outcome.count(result.ADJUST_REFUSED)
            outcome.refusals.append(f"{self._invoice.number} line {adjustment.line}: adjust: {answer.explain()}")

    def _measure(self, operation: str, answer: Answer) -> None:
        self._outcome.timings.append((operation, clock() - self._started))
        self._outcome.retries += answer.attempts - 1

    def _compare(self, operation: str, held: list[Move]) -> None:
        """All lines or none: what was held is what was asked for, sku by sku."""
        asked: dict[str, int] = {}
        got: dict[str, int] = {}
        for sku, quantity in self._invoice.lines:
            asked[sku] = asked.get(sku, 0) + quantity
        for sku, _, quantity in held:
            got[sku] = got.get(sku, 0) + quantity
        if asked != got:
            self._contradict(f"{operation} answered {got} to {asked}")

    def _refuse(self, operation: str, answer: Answer) -> None:
        self._outcome.result = result.REFUSED
        self._outcome.refusals.append(f"{self._invoice.number}: {operation}: {answer.explain()}")

    def _contradict(self, words: str) -> None:
        self._outcome.contradictions.append(f"invoice {self._invoice.number}: {words}")


def moves(body: dict[str, Any]) -> list[Move]:
    """The lines of a reservation as the gateway tells them.

    Raises:
        AnswerUnreadable: there are none, or one of another shape.
    """
    try:
        found = [(str(line["sku"]), str(line["location"]), int(line["quantity"])) for line in body["lines"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise AnswerUnreadable(f"a reservation without readable lines: {str(body)[:200]}") from exc
    return found


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerUnreadable(f"a reservation without {name}: {str(body)[:200]}")
    return value
