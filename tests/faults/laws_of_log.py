"""The laws that the log must keep by itself, whatever the clients saw: K1, K2, K7, K8, K9."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.faults.account import Account, Violation, available, is_take
from tests.faults.history import Circumstances, History
from tests.faults.stores import GENESIS, NOTHING, Counters, Event, Held, Place, chained

#: Where an event of this type may come from, and where it leads. No state = the reservation is new.
MOVES: Final[dict[str, tuple[frozenset[str], str]]] = {
    "stock.reserved": (frozenset({""}), "held"),
    "stock.extended": (frozenset({"held"}), "held"),
    "stock.confirmed": (frozenset({"held", "expired"}), "confirmed"),
    "stock.released": (frozenset({"held", "confirmed"}), "released"),
    "stock.expired": (frozenset({"held"}), "expired"),
}


def never_oversold(account: Account, history: History) -> Iterator[Violation]:
    """K1: no take leaves less than nothing, and no more is sold than ever came in."""
    received: dict[Place, int] = {}
    for place, changes in account.of_place.items():
        is_shrunk = False
        for event, change in changes:
            left, gained = available(change), change.moved[0]
            if gained > 0:
                received[place] = received.get(place, 0) + gained
            is_shrunk |= gained < 0 and event.row.type != "stock.shipped" and left < 0
            where = f"event {event.row.seq} of {'/'.join(place)}"
            if is_take(change) and left < 0:
                yield Violation("K1", where, f"took units and left {left}")
            if change.after[0] < 0 and not is_shrunk:
                yield Violation("K1", where, f"on_hand is {change.after[0]}")
    sold: dict[Place, int] = {}
    released = {call.subject for call in history.calls if call.operation == "release" and not call.is_refused}
    confirmed = {call.subject: call for call in history.calls if call.operation == "confirm" and call.is_done}
    for id, call in confirmed.items():
        if id in released or call.answer is None:
            continue
        for line in call.answer.body["lines"]:
            place = (call.answer.body["shop"], line["sku"], line["location"])
            sold[place] = sold.get(place, 0) + line["quantity"]
    for place, units in sold.items():
        if units > received.get(place, 0):
            yield Violation("K1", "/".join(place), f"{units} units were sold, {received.get(place, 0)} came in")


def adds_up(account: Account) -> Iterator[Violation]:
    """K2: event by event the differences give the levels that are told, from nothing to the end."""
    for place, changes in account.of_place.items():
        before: Counters = NOTHING
        version = 0
        for event, change in changes:
            where = f"event {event.row.seq} of {'/'.join(place)}"
            summed = tuple(old + moved for old, moved in zip(before, change.moved, strict=True))
            if summed != change.after:
                yield Violation("K2", where, f"tells {change.after}, its differences give {summed}")
            if change.version != version + 1:
                yield Violation("K2", where, f"version {change.version} follows {version}")
            before, version = change.after, change.version


def is_chained(account: Account) -> Iterator[Violation]:
    """K7: seqs have no gap and no double, the chain leads to the shard's digest, and epochs join where they ended."""
    yield from account.unreadable
    stores, seq, epoch, digest = account.stores, 0, 0, GENESIS
    entry: list[str] = []
    for row in stores.rows:
        where = f"event {row.seq}"
        if row.seq != seq + 1:
            yield Violation("K7", where, f"follows event {seq}")
        if row.epoch < epoch:
            yield Violation("K7", where, f"is of epoch {row.epoch} after epoch {epoch}")
        if row.epoch in stores.epoch_ends and row.seq > stores.epoch_ends[row.epoch]:
            yield Violation("K7", where, f"epoch {row.epoch} ended at {stores.epoch_ends[row.epoch]}")
        if row.epoch > epoch > 0 and stores.epoch_ends.get(epoch) != row.seq - 1:
            yield Violation("K7", where, f"begins epoch {row.epoch}; {epoch} ended at {stores.epoch_ends.get(epoch)}")
        if row.epoch > stores.epoch:
            yield Violation("K7", where, f"is of epoch {row.epoch}, the shard is in {stores.epoch}")
        seq, epoch = row.seq, row.epoch
        entry.append(row.payload)
        if row.seq == row.entry_seq:
            if chained(digest, "\n".join(entry)) != row.digest:
                yield Violation("K7", where, "its entry does not follow the one before")
            digest, entry = row.digest, []
    if (seq, digest) != (stores.checkpoint, stores.digest):
        detail = f"the log ends at {seq} ({digest[:8]}), the shard says {stores.checkpoint} ({stores.digest[:8]})"
        yield Violation("K7", "end", detail)


def ends_once(account: Account) -> Iterator[Violation]:
    """K8: every reservation goes by legal moves to one end, and nothing comes after it but a reacquire."""
    for id, told in account.of_reservation.items():
        state = ""
        for event, held in told:
            where = f"event {event.row.seq} of {id}"
            allowed = _moves(event, held)
            if allowed is None:
                yield Violation("K8", where, f"{event.row.type} tells a reservation that is {held.state}")
            elif state not in allowed:
                yield Violation("K8", where, f"{event.row.type} of a reservation that is {state or 'new'}")
            state = held.state


def _moves(event: Event, held: Held) -> frozenset[str] | None:
    if event.row.type == "stock.shipped":  # or a count that settled some of the lines
        return frozenset({"confirmed"}) if held.state in {"fulfilled", "confirmed"} else None
    move = MOVES.get(event.row.type)
    return move[0] if move is not None and move[1] == held.state else None


def keeps_deadlines(account: Account, circumstances: Circumstances) -> Iterator[Violation]:
    """K9: no hold ends before its deadline, none is used after it, and none outlives it for long in good times."""
    late_ms_max = circumstances.expiry_late_ms_max
    for id, told in account.of_reservation.items():
        before: Held | None = None
        for event, held in told:
            where, at_ms = f"event {event.row.seq} of {id}", event.row.at_ms
            if before is not None and before.state == "held":
                left_ms = before.deadline_ms - at_ms
                if event.row.type == "stock.expired":
                    if left_ms > 0:
                        yield Violation("K9", where, f"expired {left_ms} ms before its deadline")
                    elif -left_ms > late_ms_max and is_healthy(before.deadline_ms, at_ms, circumstances):
                        yield Violation("K9", where, f"expired {-left_ms} ms after its deadline")
                elif left_ms <= 0:
                    yield Violation("K9", where, f"{event.row.type} {-left_ms} ms after the deadline")
            before = held
        if before is not None and before.state == "held":
            overdue_ms = account.stores.read_ms - circumstances.clock_off_ms - before.deadline_ms
            if overdue_ms > late_ms_max and is_healthy(before.deadline_ms, account.stores.read_ms, circumstances):
                yield Violation("K9", id, f"is still held, {overdue_ms} ms after its deadline")


def is_healthy(start_ms: int, end_ms: int, circumstances: Circumstances) -> bool:
    """Whether no trouble touches the interval; after a trouble the sweeper has its time again."""
    late_ms, off_ms = circumstances.expiry_late_ms_max, circumstances.clock_off_ms
    return all(
        end_ms < begun - off_ms or start_ms > over + late_ms + off_ms for begun, over in circumstances.troubled_ms
    )
