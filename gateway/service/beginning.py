"""An operation that nobody awaits: its result is taken where it comes in, and its end is told once it is as durable as was asked."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Ack
from gateway.domain.errors import Corrupt, GatewayError
from gateway.flush.watermark import NotReached, TooManyWaiting
from gateway.hot.grouping import Resent, Result
from gateway.service.books import UNJUDGED, Absent, Books, durability_unknown
from gateway.service.port import Ended, Expect
from gateway.service.verdict import unless_resent

log = structlog.get_logger(__name__)


class Begun:
    """The receiver of a result; see `Receiver`. `ended` is told once: the answer, what was refused, or None for UNJUDGED."""

    __slots__ = ("_ack", "_again", "_books", "_ended", "_expect", "_is_done", "_judge")

    def __init__(
        self,
        books: Books,
        ack: Ack,
        judge: Callable[[str, list[str]], ReservationAnswer],
        ended: Ended,
        expect: Expect,
        again: Callable[[Begun], None] | None = None,
    ) -> None:
        """`judge` makes the answer of a status and its fields, or raises the refusal.

        `again` sends the same operation for another receiver, once what it lacked is in Redis; without it that is not waited for.
        """
        self._books = books
        self._ack = ack
        self._judge = judge
        self._ended = ended
        self._expect = expect
        self._again = again
        self._is_done = False

    def done(self) -> bool:
        """Whether it has a result."""
        return self._is_done

    def set_result(self, result: Result) -> None:
        """The script has answered."""
        self._is_done = True
        books = self._books
        if result[0] in UNJUDGED:
            if result[0] == "NOT_LOADED" and self._again is not None:
                books.begin(self._load(result[1:], self._again))
            else:
                self._ended(None)
            return
        try:
            answer = self._judge(result[0], result[1:])
            epoch, seq = answer.told.epoch, answer.told.seq
        except GatewayError as refusal:
            self._ended(unless_resent(refusal, isinstance(result, Resent)))
        except (ValueError, IndexError, KeyError) as unreadable:
            log.error("answer_unreadable", status=result[0], of=result[1:2], problem=repr(unreadable))
            self._ended(Corrupt(f"what Redis answered cannot be read: {unreadable}"))
        else:
            if self._ack == "durable":
                committing = Committing(answer, self._ended, self._expect)
                books.await_commit(epoch, seq, committing)
                if not committing.done():
                    books.preparing.add(committing)
            else:
                answer.durable = books.is_settled(epoch, seq)
                self._ended(answer)

    async def _load(self, names: list[str], again: Callable[[Begun], None]) -> None:
        """What the script lacked is in Redis, and the operation is under way once more."""
        try:
            await self._books.load(names)
        except Absent:
            self._ended(None)
        except GatewayError as problem:
            self._ended(problem)
        except Exception:  # noqa: BLE001  # whatever it is, the long way meets it again and says it
            self._ended(None)
        else:
            again(Begun(self._books, self._ack, self._judge, self._ended, self._expect))

    def set_exception(self, problem: GatewayError) -> None:
        """The call failed."""
        self._is_done = True
        self._ended(problem)


class Committing:
    """An applied change that is answered when it is committed, or when its time is over; see `Waiter`."""

    __slots__ = ("_answer", "_ended", "_expect", "_is_done")

    def __init__(self, answer: ReservationAnswer, ended: Ended, expect: Expect) -> None:
        self._answer = answer
        self._ended = ended
        self._expect = expect
        self._is_done = False

    def done(self) -> bool:
        """Whether it has been answered."""
        return self._is_done

    def prepare(self) -> None:
        """What is told when the commit is seen has been told as expected, unless this is done."""
        if not self._is_done:
            self._answer.durable = True  # nobody else has this answer, and where the commit is not seen nobody gets it
            self._expect(self._answer)

    def set_result(self, _result: None) -> None:
        """It is committed."""
        answer, ended = self._leave()
        answer.durable = True
        ended(answer)

    def set_exception(self, problem: NotReached | TooManyWaiting) -> None:
        """Its commit will not be seen."""
        answer, ended = self._leave()
        ended(durability_unknown(str(problem), answer.told))

    def _leave(self) -> tuple[ReservationAnswer, Ended]:
        """It is done. Whoever still keeps it, to see whether it is, keeps nothing else."""
        answer, ended = self._answer, self._ended
        del self._answer, self._ended, self._expect
        self._is_done = True
        return answer, ended
