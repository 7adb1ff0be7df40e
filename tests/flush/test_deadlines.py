"""Waiters that all wait equally long are told by one timer when their time is over: each at its own end, and only who is not done."""

from __future__ import annotations

from collections.abc import Callable

from gateway.flush.deadlines import Deadlines
from gateway.flush.watermark import NotReached, TooManyWaiting


class Clock:
    """Stands for the loop: a clock that is moved, and the timers that were set."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """The clock."""
        return self.now_s

    def call_at(self, when_s: float, look: Callable[[], None]) -> object:
        """One more timer."""
        self.timers.append((when_s, look))
        return object()

    def move(self, to_s: float) -> None:
        """The clock says this, and every timer up to then has gone off, in order."""
        while due := [timer for timer in self.timers if timer[0] <= to_s]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer[0])
            timer[1]()
        self.now_s = to_s


class Patient:
    """A waiter that keeps what it was told."""

    def __init__(self) -> None:
        self.told: Exception | None = None
        self.is_committed = False

    def done(self) -> bool:
        """Whether it was told."""
        return self.is_committed or self.told is not None

    def set_result(self, _result: None) -> None:
        """Committed."""
        assert not self.done()
        self.is_committed = True

    def set_exception(self, problem: NotReached | TooManyWaiting) -> None:
        """Not any more."""
        assert not self.done()
        self.told = problem


def at(timeout_s: float) -> tuple[Deadlines, Clock]:
    """Deadlines by a clock that the test moves."""
    deadlines, clock = Deadlines(timeout_s), Clock()
    deadlines._loop = clock  # type: ignore[assignment]
    return deadlines, clock


async def test_deadlines_tell_each_at_its_own_end() -> None:
    """Nobody is told before his time is over, and everybody when it is, with one timer at any moment."""
    deadlines, clock = at(2.0)
    first, second, third = Patient(), Patient(), Patient()
    deadlines.add(first)
    clock.move(100.5)
    deadlines.add(second)
    deadlines.add(third)
    assert len(clock.timers) == 1

    clock.move(101.9)
    assert not first.done()
    clock.move(102.0)
    assert isinstance(first.told, NotReached)
    assert not second.done()
    assert len(clock.timers) == 1
    clock.move(102.5)
    assert isinstance(second.told, NotReached)
    assert isinstance(third.told, NotReached)
    assert (len(deadlines), clock.timers) == (0, [])


async def test_deadlines_leave_alone_who_is_done() -> None:
    """Who was told of the commit is not told again, whoever is before or behind it; after a rest the next one has a timer, too."""
    deadlines, clock = at(2.0)
    patients = [Patient() for _ in range(3)]
    for patient in patients:
        deadlines.add(patient)
        clock.move(clock.now_s + 0.1)
    patients[1].set_result(None)

    clock.move(110.0)

    assert [isinstance(patient.told, NotReached) for patient in patients] == [True, False, True]
    late = Patient()
    deadlines.add(late)
    clock.move(111.9)
    assert not late.done()
    clock.move(112.0)
    assert isinstance(late.told, NotReached)


async def test_deadlines_forget_who_is_done() -> None:
    """Ten thousand who were told in the order in which they came are not kept until their time would be over."""
    deadlines, clock = at(2.0)
    for _ in range(10_000):
        patient = Patient()
        deadlines.add(patient)
        patient.set_result(None)

    assert len(deadlines) == 1
    assert len(clock.timers) == 1
    clock.move(102.0)
    assert (len(deadlines), clock.timers) == (0, [])


async def test_deadlines_whose_first_is_done_keep_the_time_of_the_next() -> None:
    """The timer of one who was told goes off for nothing, and is then that of who waits behind it."""
    deadlines, clock = at(2.0)
    first, second = Patient(), Patient()
    deadlines.add(first)
    clock.move(101.0)
    deadlines.add(second)
    first.set_result(None)

    clock.move(102.0)
    assert not second.done()
    assert [when_s for when_s, _ in clock.timers] == [103.0]
    clock.move(103.0)
    assert isinstance(second.told, NotReached)
