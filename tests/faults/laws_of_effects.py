"""The laws between what clients were told and what happened: K4, K5, K6, K11, K13."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.account import Account, Violation
from tests.faults.history import CHANGES, ON_RESERVATIONS, Call, Circumstances, History, position_of, random_part
from tests.faults.stores import Event

AUDIT = "audit"  # the client that asks after every reservation when all is over


def sales_are_stored(account: Account, history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K4: what was answered as durable is in the log at its position; a sale is there exactly once, with its lines.

    Where no fault took anything out of Redis this holds of every answer, durable or not.
    """
    for call in history.calls:
        if not call.is_done or call.operation not in CHANGES:
            continue
        is_durable = call.told.get("durable") is True
        wanted = call.ack or ("memory" if call.operation == "reserve" else "durable")
        if wanted == "durable" and not is_durable:
            yield Violation("K4", str(call), "asked for a durable answer, was told durable: false")
        if not is_durable and circumstances.is_hot_lost:
            continue
        position = position_of(call.told)
        event = None if position is None else account.at.get(position)
        if event is None or not _is_about(event, call, circumstances):
            yield Violation("K4", str(call), f"was answered at {position}, where the log has nothing of it")
        if call.operation == "confirm":
            yield from _is_one_sale(account, call)


def _is_about(event: Event, call: Call, circumstances: Circumstances) -> bool:
    if call.operation in {"put", "adjust"}:
        sku, location = call.subject.split("/")
        return any(change.place == (circumstances.shop, sku, location) for change in event.changes)
    return event.reservation is not None and event.reservation.id == random_part(call.told["id"])


def _is_one_sale(account: Account, call: Call) -> Iterator[Violation]:
    told = account.of_reservation.get(random_part(call.subject), [])
    sales = [held for event, held in told if event.row.type == "stock.confirmed"]
    if len(sales) != 1:
        yield Violation("K4", str(call), f"the log has {len(sales)} sales of it")
        return
    stored = sorted((sku, location, quantity) for sku, location, quantity, _ in sales[0].lines)
    answered = sorted((line["sku"], line["location"], line["quantity"]) for line in call.told["lines"])
    if stored != answered:
        yield Violation("K4", str(call), f"{answered} was answered, {stored} was sold")


def refusals_do_nothing(account: Account, history: History) -> Iterator[Violation]:
    """K5: what was refused each time has no effect. K6: what is unknown has one effect or none, and one key never two."""
    for (operation, name), calls in _requests(history).items():
        effects = _effects(account, operation, calls[0])
        where = f"{operation} {name}"
        if effects and all(call.is_refused for call in calls):
            seqs = [event.row.seq for event in effects]
            yield Violation("K5", where, f"was refused {len(calls)} times, and the log has it at {seqs}")
        # An extension counts from its last call, so each may be an event of its own.
        if len(effects) > 1 and operation != "extend":
            yield Violation("K6", where, f"has {len(effects)} effects: {[event.row.seq for event in effects]}")


def _requests(history: History) -> dict[tuple[str, str], list[Call]]:
    """The calls that meant the same effect, whoever sent them."""
    groups: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.operation in ON_RESERVATIONS:
            groups[call.operation, call.subject].append(call)
            if call.operation == "confirm" and call.body.get("fulfil"):
                groups["fulfil", call.subject].append(call)
        elif call.operation == "put":
            groups["put", f"{call.subject} {call.body['source']} {call.body['sequence']}"].append(call)
        elif call.operation in CHANGES:
            groups[call.operation, str(call.body["reference"])].append(call)
    return groups


def _effects(account: Account, operation: str, call: Call) -> list[Event]:
    if operation == "put":
        sku, location = call.subject.split("/")
        return account.of_sequence.get(
            (account.shop, sku, location, str(call.body["source"]), int(call.body["sequence"])), []
        )
    if operation not in ON_RESERVATIONS:
        return account.of_reference.get(str(call.body["reference"]), [])
    type = {"fulfil": "stock.shipped", "extend": "stock.extended", "confirm": "stock.confirmed"}.get(
        operation, "stock.released"
    )
    told = account.of_reservation.get(random_part(call.subject), [])
    return [
        event for event, held in told if event.row.type == type and (operation != "fulfil" or held.state == "fulfilled")
    ]


def keys_have_one_meaning(account: Account, history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K11: one key and one body have one reservation; another body is refused, the same one never is.

    A reservation that was lost with Redis may have been lost again after it was made anew.
    """
    keyed: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.key is not None:
            keyed[call.operation, call.key].append(call)
    for (operation, key), calls in keyed.items():
        where = f"{operation} with key {key}"
        done = [call for call in calls if call.is_done]
        if any(call.body != done[0].body for call in done):
            yield Violation("K11", where, "two bodies have been applied under one key")
        if all(call.body == calls[0].body for call in calls):
            for call in calls:
                if call.told.get("code") == "idempotency_key_reused":
                    yield Violation("K11", where, "the same body was refused as another one")
        ids = {call.told["id"] for call in done if "id" in call.told}
        kept = [id for id in ids if random_part(id) in account.stores.reservations]
        if len(kept) > 1 or (len(ids) > 1 and not kept and not circumstances.is_hot_lost):
            yield Violation("K11", where, f"was answered with {sorted(ids)}")
        for call in done:
            if len({one.answer.status for one in done if one.answer}) > 1:
                yield Violation("K11", where, f"was answered by several statuses, {call.answer and call.answer.status}")
                break


def losses_are_told(account: Account, history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K13: only what was never called durable may be lost, only where Redis lost it, and then it is told as lost."""
    known, is_durable = {}, set()
    asked: dict[str, Call] = {}
    lost_at: dict[str, float] = {}
    for call in sorted(history.calls, key=lambda one: one.start_s):
        id = call.told.get("id", call.subject)
        if not str(id).startswith("rsv_"):
            continue
        if call.is_done:
            known[id] = call
            if call.told.get("durable") is True:
                is_durable.add(id)
            if id in lost_at and call.start_s > lost_at[id]:
                yield Violation("K13", str(id), f"was reported lost, and then {call.operation} found it")
        elif call.told.get("code") == "reservation_lost":
            lost_at.setdefault(id, call.end_s)
        if call.client == AUDIT and call.operation == "get":
            asked[id] = call
    for id in known:
        stored, audit = account.stores.reservations.get(random_part(id)), asked.get(id)
        seen = (
            "nothing"
            if audit is None or audit.answer is None
            else f"{audit.answer.status} {audit.told.get('code', '')}"
        )
        if stored is None and not circumstances.is_hot_lost:
            yield Violation("K13", id, "is lost, and no fault took anything out of Redis")
        if stored is None and id in is_durable:
            yield Violation("K13", id, "is lost, and it was answered as durable")
        if stored is None and seen != "410 reservation_lost":
            yield Violation("K13", id, f"is lost, and whoever asks is told {seen}")
        if stored is not None and (audit is None or not audit.is_done):
            yield Violation("K13", id, f"is stored, and whoever asks is told {seen}")
