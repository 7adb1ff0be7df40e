"""The independent count: what the answers prove, and what they leave open."""

from __future__ import annotations

import random

import pytest

from gateway.cli.sale.promises import HELD, SLACK_SECONDS, Asked, Promises


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def kinds(promises: Promises) -> list[str]:
    return [kind for kind, _ in promises.contradictions.kept]


def test_promises_find_one_more_than_there_are() -> None:
    """Three live holds on two units were promised at one moment, whatever becomes of them and comes after them."""
    clock = Clock()
    promises = Promises(1, 2, 60.0, clock)
    for number in range(3):
        promises.granted(promises.asks(0, f"k{number}"), f"rsv{number}")
    clock.now += 100.0
    promises.granted(promises.asks(0, "k3"), "rsv3")

    assert promises.shelves[0].oversold == 1
    assert promises.shelves[0].held_max == 1


def test_promises_allow_a_unit_again_when_its_hold_may_be_over() -> None:
    """At the deadline the unit is back: the next buyer's hold is no oversell, and a refusal then is not a lie either."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    promises.granted(promises.asks(0, "k1"), "rsv1")
    clock.now += 10.0
    refused = promises.asks(0, "k2")
    promises.refused(refused)
    promises.granted(promises.asks(0, "k3"), "rsv2")

    assert promises.shelves[0].oversold == 0
    assert kinds(promises) == []


def test_promises_find_a_refusal_while_units_were_free() -> None:
    """With one unit of two taken nobody can be sold out; with the second one asked for at that moment somebody can."""
    promises = Promises(1, 2, 60.0, Clock())
    promises.granted(promises.asks(0, "k1"), "rsv1")
    under_way = promises.asks(0, "k2")
    promises.refused(promises.asks(0, "k3"))
    assert kinds(promises) == []

    promises.refused(under_way)
    assert kinds(promises) == ["false_refusal"]


def test_promises_find_a_refusal_long_after_a_hold_has_ended() -> None:
    """A unit that surely went back before the question was asked is free."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    promises.granted(promises.asks(0, "k1"), "rsv1")
    clock.now += 10.0 + 2 * SLACK_SECONDS
    promises.refused(promises.asks(0, "k2"))

    assert kinds(promises) == ["false_refusal"]


def test_promises_believe_a_refusal_during_which_a_hold_ended() -> None:
    """The question was asked before the end and answered after it: the gateway may have looked before."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    promises.granted(promises.asks(0, "k1"), "rsv1")
    asked = promises.asks(0, "k2")
    clock.now += 11.0
    promises.refused(asked)

    assert kinds(promises) == []


def test_promises_leave_a_payment_under_way_open_beyond_the_deadline() -> None:
    """Until it is answered the unit may be sold or free; sold late it counts again, and bounds hold all the time."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    shelf = promises.shelves[0]
    promises.granted(promises.asks(0, "k1"), "rsv1")
    promises.pays("rsv1")
    clock.now += 20.0
    promises.advance()
    assert (shelf.held_min, shelf.held_max) == (0, 1)

    promises.confirmed("rsv1")
    assert (shelf.sold, shelf.held_min, shelf.held_max, shelf.oversold) == (1, 0, 0, 0)


def test_promises_find_one_reservation_for_two_buyers_and_an_early_end() -> None:
    """An id belongs to one key; and expired is a lie before the time is over."""
    promises = Promises(1, 5, 10.0, Clock())
    promises.granted(promises.asks(0, "k1"), "rsv1")
    promises.granted(promises.asks(0, "k2"), "rsv1")
    promises.expired("rsv1")

    assert kinds(promises) == ["two_buyers", "early_expiry"]


def test_promises_give_holds_the_time_for_which_the_gateway_was_away() -> None:
    """A gateway that was away for four seconds may let its holds live so much longer: until then a refusal is believed."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    promises.granted(promises.asks(0, "k1"), "rsv1")
    for _ in range(2):
        clock.now += 4.0
        promises.disturbed()
    clock.now += 6.0
    promises.refused(promises.asks(0, "k2"))
    assert (kinds(promises), promises.shelves[0].held_max) == ([], 1)

    clock.now += 2.0
    promises.refused(promises.asks(0, "k3"))
    assert (kinds(promises), promises.shelves[0].held_max) == (["false_refusal"], 0)


def test_promises_of_a_late_answer_are_not_sure() -> None:
    """An outcome that is learnt after the deadline proves no oversell."""
    clock = Clock()
    promises = Promises(1, 1, 10.0, clock)
    asked = promises.asks(0, "k1")
    promises.lost_sight(asked)
    clock.now += 20.0
    promises.granted(promises.asks(0, "k2"), "rsv2")
    promises.granted(promises.unknown["k1"], "rsv1", "expired")

    assert promises.shelves[0].oversold == 0
    assert promises.unknown == {}
    assert promises.shelves[0].held_max == 1


class Shop:
    """A shop of one sku that never lies, and asks, answers, sells and forgets in any order. `holds` is its own book: id to deadline,
    infinite when sold.
    """

    def __init__(self, seed: int) -> None:
        self.chance, self.clock = random.Random(seed), Clock()
        self.units = self.chance.randint(1, 5)
        self.promises = Promises(1, self.units, 5.0, self.clock)
        self.holds: dict[str, float] = {}
        self.waiting: list[tuple[Asked, str]] = []
        self.paying: list[tuple[str, bool]] = []

    def step(self, number: int) -> None:
        self.clock.now += self.chance.expovariate(4.0)
        self.chance.choice([lambda: self.ask(number), self.answer, self.pay, self.answer_payment])()
        self.promises.advance()

    def taken(self) -> int:
        return sum(deadline > self.clock.now for deadline in self.holds.values())

    def ask(self, number: int) -> None:
        """The question leaves, and is decided at once; the answer takes its time."""
        asked, id = self.promises.asks(0, f"k{number}"), ""
        if self.taken() < self.units:
            id = f"r{number}"
            self.holds[id] = self.clock.now + 5.0
        self.waiting.append((asked, id))

    def answer(self) -> None:
        if self.waiting:
            asked, id = self.waiting.pop(self.chance.randrange(len(self.waiting)))
            if id:
                self.promises.granted(asked, id)
            else:
                self.promises.refused(asked)

    def pay(self) -> None:
        waiting = [id for id, hold in self.promises.holds.items() if hold.state == HELD and not hold.is_paying]
        if waiting and self.chance.random() < 0.3:
            id = self.chance.choice(waiting)
            self.promises.pays(id)
            is_sold = self.holds[id] > self.clock.now
            if is_sold:
                self.holds[id] = float("inf")
            self.paying.append((id, is_sold))

    def answer_payment(self) -> None:
        if self.paying:
            id, is_sold = self.paying.pop(0)
            (self.promises.confirmed if is_sold else self.promises.expired)(id)


@pytest.mark.parametrize("seed", range(20))
def test_promises_accuse_no_truthful_gateway(seed: int) -> None:
    """Whatever the order of questions, answers, payments and deadlines, a shop that never lies is accused of nothing, and its true
    counters lie within the bounds at every step.
    """
    print(f"seed {seed}")
    shop = Shop(seed)
    shelf = shop.promises.shelves[0]

    for number in range(400):
        shop.step(number)
        assert shelf.held_min <= shop.taken() - shelf.sold <= shelf.held_max
        assert shelf.oversold == 0

    assert kinds(shop.promises) == []
    assert shop.promises.sold > 0
