"""The checker itself: right runs pass, and every planted violation is named by its law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import DECIDED, check
from tests.faults.history import Answer, Call, Circumstances, History
from tests.faults.scribe import SHOP, Scribe
from tests.faults.stores import NOTHING, Stores, chained

EXPIRED = {"code": "reservation_expired", "outcome": "not_applied", "status": 409}
Run = tuple[History, Stores, Circumstances]
PLACE = (SHOP, "A", "main")


def day() -> Scribe:
    """A day with everything in it: sales, refusals, ends of each kind, two epochs, and units left in each state."""
    scribe = Scribe()
    scribe.put("A", 10)
    scribe.put("B", 3)
    sold, dropped, forgotten = scribe.reserve("A", 2, "k1"), scribe.reserve("A", 3, "k2"), scribe.reserve("B", 1, "k3")
    scribe.refuse("A", 9, "k4")
    scribe.extend(sold)
    scribe.confirm(sold)
    scribe.release(dropped)
    scribe.read(dropped)
    scribe.adjust("A", 5, "k5")
    scribe.expire(forgotten)
    scribe.reopen()
    scribe.fulfil(sold)
    scribe.look("A")
    scribe.confirm(scribe.reserve("A", 1, "k6"))
    scribe.release(scribe.reserve("B", 1, "k7"))
    scribe.reserve("B", 2, "k8")
    scribe.put("A", 20, sequence=2)
    return scribe


def laws(run: Run) -> set[str]:
    """The laws that the checker finds broken."""
    return {violation.law for violation in check(*run)}


def told(run: Run, operation: str, change: Callable[[Call], Call], nth: int = 0) -> None:
    """The nth call of the operation is another one."""
    calls = run[0].calls
    at = [index for index, call in enumerate(calls) if call.operation == operation][nth]
    calls[at] = change(calls[at])


def answered(call: Call, **fields: Any) -> Call:
    """The call with another answer."""
    assert call.answer is not None
    return replace(call, answer=replace(call.answer, body=call.answer.body | fields))


def rewritten(stores: Stores, seq: int, old: str, new: str) -> None:
    """An event tells something else, and the chain is forged to match."""
    digest = stores.rows[seq - 2].digest if seq > 1 else "0" * 40
    assert old in stores.rows[seq - 1].payload, stores.rows[seq - 1].payload
    for at in range(seq - 1, len(stores.rows)):
        row = stores.rows[at]
        payload = row.payload.replace(old, new) if row.seq == seq else row.payload
        digest = chained(digest, payload)
        stores.rows[at] = replace(row, payload=payload, digest=digest, at_ms=int(payload.split("\t")[4]))
    stores.digest = digest


def seq_of(stores: Stores, type: str, nth: int = 0) -> int:
    """The seq of the nth event of the type."""
    return [row.seq for row in stores.rows if row.type == type][nth]


def test_checker_finds_nothing_in_a_right_run() -> None:
    """A clean history has no violation."""
    assert check(*day().audited()) == []


def test_checker_finds_nothing_in_an_empty_run() -> None:
    """Nothing happened, nothing is wrong."""
    assert check(History(), Stores(), Circumstances(SHOP)) == []


def test_checker_allows_a_lost_answer_with_or_without_its_effect() -> None:
    """Unknown means that either may be."""
    history, stores, circumstances = day().audited()
    told((history, stores, circumstances), "confirm", lambda call: replace(call, answer=None))
    never = replace(history.calls[3], key="k9", answer=None, body={"reference": "k9"})
    history.record(never)

    assert check(history, stores, circumstances) == []


def test_checker_allows_a_told_loss_where_redis_lost_it() -> None:
    """A hold that was never durable, gone with Redis, answered 410."""
    history, stores, circumstances = day().audited()
    last = max(history.calls, key=lambda call: call.start_s)
    held = next(call for call in history.calls if call.operation == "reserve")
    id = "rsv_0-2-900-000000000000000y"
    times: dict[str, Any] = {
        "start_s": last.end_s + 1,
        "end_s": last.end_s + 2,
        "key": "ky",
        "body": {"reference": "ky"},
    }
    history.record(replace(answered(held, id=id, durable=False, position="0-2-900"), **times))
    gone = Answer(410, {"code": "reservation_lost", "outcome": "not_applied"})
    asked: dict[str, Any] = {"start_s": last.end_s + 3, "end_s": last.end_s + 4, "subject": id}
    history.record(replace(last, client="audit", operation="get", answer=gone, **asked))

    assert check(history, stores, replace(circumstances, is_hot_lost=True)) == []
    assert "K13" in laws((history, stores, circumstances))


def test_checker_gives_a_lost_hold_no_place_in_the_order() -> None:
    """A primary that was cut off gave it an old number, after others were given theirs: K10 unless Redis was lost."""
    history, stores, circumstances = day().audited()
    last = max(history.calls, key=lambda call: call.start_s)
    held = next(call for call in history.calls if call.operation == "reserve")
    id, times = "rsv_0-1-1-000000000000000y", {"start_s": last.end_s + 1, "end_s": last.end_s + 2}
    late: dict[str, Any] = {"key": "ky", "body": {"reference": "ky"}, **times}
    history.record(replace(answered(held, id=id, durable=False, position="0-1-1"), **late))

    kept = laws((history, stores, circumstances))
    lost = laws((history, stores, replace(circumstances, is_hot_lost=True)))

    assert ("K10" in kept, "K10" in lost) == (True, False)


def oversold() -> Run:
    """Ten units, and twelve of them held: each event adds up, and too much is taken."""
    scribe = Scribe()
    scribe.put("A", 10)
    scribe.reserve("A", 12, "k1")
    return scribe.audited()


def sold_more_than_came() -> Run:
    """Two buyers were each told that they have the last unit."""
    scribe = Scribe()
    scribe.put("A", 1)
    scribe.confirm(scribe.reserve("A", 1, "k1"))
    run = scribe.audited()
    sale = next(call for call in run[0].calls if call.operation == "confirm")
    run[0].record(replace(answered(sale, id="rsv_0-1-9-000000000000000z"), subject="rsv_0-1-9-000000000000000z"))
    return run


def on_hand_below_nothing() -> Run:
    """More left the shelf than stood on it."""
    scribe = Scribe()
    scribe.put("A", 1)
    sold = scribe.reserve("A", 2, "k1")
    scribe.confirm(sold)
    scribe.fulfil(sold)
    return scribe.audited()


def event_that_does_not_add_up() -> Run:
    """An event tells a level that its difference does not give."""
    run = day().audited()
    rewritten(run[1], seq_of(run[1], "stock.adjusted"), "\t5\t0\t0\t0\t0", "\t4\t0\t0\t0\t0")
    return run


def durable_level_drifts() -> Run:
    """The durable level has a unit that the log does not have."""
    run = day().audited()
    run[1].levels[PLACE] = (21, *run[1].levels[PLACE][1:])
    return run


def redis_drifts() -> Run:
    """Redis has a unit less."""
    run = day().audited()
    run[1].hot_levels[PLACE] = (19, *run[1].hot_levels[PLACE][1:])
    return run


def redis_is_ahead() -> Run:
    """Redis numbers on, and nothing of it is stored."""
    run = day().audited()
    run[1].hot_seq += 1
    return run


def hold_without_reservation() -> Run:
    """A reservation's durable row is gone; its units stay held."""
    run = day().audited()
    held = next(one.id for one in run[1].reservations.values() if one.state == "held")
    del run[1].reservations[held]
    return run


def hold_in_no_index() -> Run:
    """Nobody will take it back."""
    run = day().audited()
    run[1].hot_holds.clear()
    return run


def sku_in_no_index() -> Run:
    """The sweeper will not come by."""
    run = day().audited()
    run[1].hot_due.clear()
    return run


def hold_of_another_deadline() -> Run:
    """The index has another deadline than the reservation."""
    run = day().audited()
    for deadlines in run[1].hot_holds.values():
        for id in deadlines:
            deadlines[id] += 1
    return run


def key_forgotten() -> Run:
    """The table of requests lost a key."""
    run = day().audited()
    del run[1].requests["q-k1"]
    return run


def sale_not_stored() -> Run:
    """The client has a sale at a position that the log does not have."""
    run = day().audited()
    told(run, "confirm", lambda call: answered(call, position="0-1-99"))
    return run


def sale_not_durable() -> Run:
    """The answer did not wait for the commit."""
    run = day().audited()
    told(run, "confirm", lambda call: answered(call, durable=False))
    return run


def sale_of_other_lines() -> Run:
    """The buyer was told three units, two are sold."""
    run = day().audited()
    told(run, "confirm", lambda call: answered(call, lines=[{"sku": "A", "location": "main", "quantity": 3}]))
    return run


def refusal_with_effect() -> Run:
    """A client was told that nothing happened, and the units are held."""
    run = day().audited()
    refused = Answer(503, {"code": "hot_store_unavailable", "outcome": "not_applied"})
    told(run, "reserve", lambda call: replace(call, answer=refused))
    return run


def refused_confirm_with_effect() -> Run:
    """A sale that was answered 503 and not applied is in the log."""
    run = day().audited()
    refused = Answer(503, {"code": "shard_recovering", "outcome": "not_applied"})
    told(run, "confirm", lambda call: replace(call, answer=refused))
    return run


def key_with_two_effects() -> Run:
    """The same adjust is applied twice: the resend was not recognised."""
    scribe = day()
    scribe.adjust("A", 1, "twice")
    scribe.adjust("A", 1, "twice")
    return scribe.audited()


def sequence_with_two_effects() -> Run:
    """One sequence of one source is applied twice."""
    scribe = day()
    scribe.put("B", 3, sequence=2)
    scribe.put("B", 3, sequence=2)
    return scribe.audited()


def event_dropped() -> Run:
    """The log has a gap."""
    run = day().audited()
    del run[1].rows[4]
    return run


def event_twice() -> Run:
    """An event stands in the log twice."""
    run = day().audited()
    run[1].rows.insert(4, run[1].rows[4])
    return run


def digest_broken() -> Run:
    """Somebody changed the history."""
    run = day().audited()
    run[1].rows[3] = replace(run[1].rows[3], digest="f" * 40)
    return run


def event_after_the_end_of_its_epoch() -> Run:
    """A fenced writer wrote on."""
    run = day().audited()
    run[1].epoch_ends[1] -= 1
    return run


def event_unreadable() -> Run:
    """Something in the log is not ours."""
    run = day().audited()
    run[1].rows[-1] = replace(run[1].rows[-1], payload="garbage")
    return run


def hold_with_two_ends() -> Run:
    """A released hold is sold."""
    scribe = Scribe()
    scribe.put("A", 10)
    id = scribe.reserve("A", 1, "k1")
    scribe.release(id)
    scribe.confirm(id)
    return scribe.audited()


def released_twice() -> Run:
    """The units go back twice."""
    scribe = Scribe()
    scribe.put("A", 10)
    id = scribe.reserve("A", 1, "k1")
    scribe.release(id)
    scribe.release(id)
    return scribe.audited()


def shifted(type: str, by_ms: int) -> Run:
    """The first event of the type, so much earlier or later."""
    run = day().audited()
    seq = seq_of(run[1], type)
    at_ms = run[1].rows[seq - 1].at_ms
    rewritten(run[1], seq, f"\t{at_ms}\t", f"\t{at_ms + by_ms}\t")
    return run


def expired_early() -> Run:
    """The units went back a second before the deadline."""
    return shifted("stock.expired", -1100)


def expired_late() -> Run:
    """Nobody took them back for a minute."""
    return shifted("stock.expired", 60_000)


def sold_after_the_deadline() -> Run:
    """A dead hold became a sale."""
    return shifted("stock.confirmed", 60_000)


def clock_ran_ahead() -> Run:
    """By the shard's own clock all is right, and it went ten times as fast as the clients' from a reserve to the end of its hold."""
    run = day().audited()
    call = next(call for call in run[0].calls if call.operation == "reserve" and call.told["reference"] == "k3")
    told(run, "get", lambda read: replace(read, subject=call.told["id"], answer=Answer(409, EXPIRED)), nth=0)
    told(run, "get", lambda read: replace(read, start_ms=call.start_ms + 500, end_ms=call.end_ms + 500), nth=0)
    return run


def clock_stood_still() -> Run:
    """By the shard's own clock all is right, and it stood still while somebody read a hold ten seconds after it was made."""
    run = day().audited()
    call = next(call for call in run[0].calls if call.operation == "reserve" and call.told["reference"] == "k3")
    after = {"start_ms": call.start_ms + 10_000, "end_ms": call.end_ms + 10_000}
    read = {"operation": "get", "subject": call.told["id"], "client": "c", "key": None, "body": {}}
    deadline_ms = run[1].reservations[call.told["id"][-16:]].deadline_ms
    run[0].record(replace(call, **after, **read, answer=Answer(200, call.told)))
    assert deadline_ms < call.start_ms + 10_000
    return run


def never_expired() -> Run:
    """A hold outlives its deadline to the end."""
    run = day().audited()
    run[1].read_ms += 60_000
    return run


def later_call_stands_earlier() -> Run:
    """Who began after another had ended stands before it."""
    run = day().audited()
    told(run, "reserve", lambda call: answered(call, position="0-1-1"), nth=1)
    return run


def stale_read() -> Run:
    """A reservation is read as it was before its last answer."""
    run = day().audited()
    first = next(call for call in run[0].calls if call.operation == "reserve")
    last = max(run[0].calls, key=lambda call: call.start_s)
    times: dict[str, Any] = {
        "start_s": last.end_s + 1,
        "end_s": last.end_s + 2,
        "start_ms": last.end_ms,
        "end_ms": last.end_ms + 1,
    }
    run[0].record(replace(first, operation="get", subject=first.told["id"], key=None, **times))
    return run


def key_with_two_reservations() -> Run:
    """The retry got another reservation, and both are there."""
    run = day().audited()
    told(run, "reserve", lambda call: replace(call, key="k2", body=run[0].calls[3].body))
    return run


def key_with_two_bodies() -> Run:
    """Another body under the same key was answered as if it were the same."""
    run = day().audited()
    first = next(call for call in run[0].calls if call.operation == "reserve")
    run[0].record(replace(first, body=first.body | {"lines": []}))
    return run


def same_body_refused_as_another() -> Run:
    """A resend was answered 422."""
    run = day().audited()
    first = next(call for call in run[0].calls if call.operation == "reserve")
    refused = Answer(422, {"code": "idempotency_key_reused", "outcome": "not_applied"})
    run[0].record(replace(first, answer=refused))
    return run


def wrong_level_answered() -> Run:
    """A level is told with a unit more."""
    run = day().audited()
    told(run, "adjust", lambda call: answered(call, on_hand=call.told["on_hand"] + 1))
    return run


def wrong_state_read() -> Run:
    """A released reservation reads held."""
    run = day().audited()
    told(run, "get", lambda call: answered(call, state="confirmed"))
    return run


def refused_though_there_was_enough() -> Run:
    """Nine were asked for, and the answer says that none were left."""
    run = day().audited()
    short = {"sku": "A", "location": "main", "requested": 9, "available": 0}
    told(run, "reserve", lambda call: answered(call, shortages=[short]), nth=3)
    return run


def refused_for_a_state_it_never_had() -> Run:
    """A hold is refused as released, and it never was."""
    run = day().audited()
    refused = Answer(409, {"code": "reservation_released", "outcome": "not_applied"})
    told(run, "extend", lambda call: replace(call, answer=refused))
    return run


def durable_hold_lost() -> Run:
    """Redis was lost, and with it a hold that had been answered as durable."""
    run = day().audited()
    held = next(one for one in run[1].reservations.values() if one.state == "held")
    for found in (run[1].reservations, run[1].hot_reservations):
        del found[held.id]
    return run[0], run[1], replace(run[2], is_hot_lost=True)


def loss_not_told() -> Run:
    """Whoever asks for a lost hold is told 404."""
    run = day().audited()
    lost = replace(run[0].calls[3], key=None, body={"reference": "ky"})
    id = "rsv_0-1-9-000000000000000y"
    run[0].record(answered(lost, id=id, durable=False))
    missing = Answer(404, {"code": "reservation_not_found", "outcome": "not_applied"})
    run[0].record(replace(lost, client="audit", operation="get", subject=id, answer=missing))
    return run[0], run[1], replace(run[2], is_hot_lost=True)


def never_recovered() -> Run:
    """Everything is back, and nothing succeeds."""
    run = day().audited()
    return run[0], run[1], replace(run[2], healed_s=max(call.end_s for call in run[0].calls))


def problem_without_outcome() -> Run:
    """A refusal does not say whether something happened."""
    run = day().audited()
    told(run, "reserve", lambda call: answered(call, outcome=None), nth=3)
    return run


def problem_without_code() -> Run:
    """A refusal has a code that nobody knows."""
    run = day().audited()
    told(run, "reserve", lambda call: answered(call, code="oops"), nth=3)
    return run


PLANTED: dict[Callable[[], Run], str] = {
    oversold: "K1",
    sold_more_than_came: "K1",
    on_hand_below_nothing: "K1",
    event_that_does_not_add_up: "K2",
    durable_level_drifts: "K2",
    redis_drifts: "K2",
    redis_is_ahead: "K2",
    hold_without_reservation: "K3",
    hold_in_no_index: "K3",
    sku_in_no_index: "K3",
    hold_of_another_deadline: "K3",
    key_forgotten: "K3",
    sale_not_stored: "K4",
    sale_not_durable: "K4",
    sale_of_other_lines: "K4",
    refusal_with_effect: "K5",
    refused_confirm_with_effect: "K5",
    key_with_two_effects: "K6",
    sequence_with_two_effects: "K6",
    event_dropped: "K7",
    event_twice: "K7",
    digest_broken: "K7",
    event_after_the_end_of_its_epoch: "K7",
    event_unreadable: "K7",
    hold_with_two_ends: "K8",
    released_twice: "K8",
    expired_early: "K9",
    expired_late: "K9",
    sold_after_the_deadline: "K9",
    never_expired: "K9",
    clock_ran_ahead: "K9",
    clock_stood_still: "K9",
    later_call_stands_earlier: "K10",
    stale_read: "K10",
    key_with_two_reservations: "K11",
    key_with_two_bodies: "K11",
    same_body_refused_as_another: "K11",
    wrong_level_answered: "K12",
    wrong_state_read: "K12",
    refused_though_there_was_enough: "K12",
    refused_for_a_state_it_never_had: "K12",
    durable_hold_lost: "K13",
    loss_not_told: "K13",
    never_recovered: "K16",
    problem_without_outcome: "K17",
    problem_without_code: "K17",
}


@pytest.mark.parametrize(("plant", "law"), PLANTED.items(), ids=lambda value: getattr(value, "__name__", value))
def test_checker_names_what_is_planted(plant: Callable[[], Run], law: str) -> None:
    """The broken law is among those that it names."""
    assert law in laws(plant())


def test_checker_is_tried_on_every_law_that_it_decides() -> None:
    """No law is decided that no planted violation has shown to be."""
    assert set(PLANTED.values()) == set(DECIDED)


def test_checker_tells_late_expiry_from_trouble() -> None:
    """What was late while something was broken is forgiven; other laws are not."""
    history, stores, circumstances = expired_late()
    troubled = replace(circumstances, troubled_ms=((0, 10**15),))

    assert "K9" not in laws((history, stores, troubled))


def test_history_comes_back_from_its_file(tmp_path: Path) -> None:
    """What is saved for whoever looks into a failure is the whole history."""
    history = day().history

    history.save(tmp_path / "history.jsonl")

    assert History.load(tmp_path / "history.jsonl").calls == history.calls


def test_level_of_nothing_is_as_good_as_none() -> None:
    """A durable level that the log never told and that counts nothing is no violation."""
    run = day().audited()
    run[1].levels[SHOP, "Z", "main"] = NOTHING

    assert check(*run) == []
