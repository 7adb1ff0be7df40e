"""What every script looks at first: the gates that end a call with nothing touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import Overloaded, ShardRecovering
from tests.lua.warehouse import DAY_MS, START_MS, Call, Warehouse, wish

SPARE = 100_000
GATED = (
    "reserve", "group", "changes", "extend", "confirm", "fulfil", "release", "batch", "put", "adjust", "pause",
    "read_sku", "read_reservation", "expire", "settle", "ticket", "tick", "lease",
)  # fmt: skip
TIMELY = tuple(name for name in GATED if name != "tick")  # a tick may come late
LEASED = tuple(name for name in GATED if name not in ("tick", "lease"))
NEW_WORK = ("reserve", "extend", "put", "adjust", "pause")
FREEING = ("confirm", "fulfil", "release", "expire")


async def call_of(warehouse: Warehouse, script: str) -> Call:
    """A call of the script that would change something: on a held A, a confirmed B and a due C."""
    for sku in "ABC":
        await warehouse.stock(sku, 10)
    held = await warehouse.hold(wish("A", 2), key="k-held")
    sold = await warehouse.sell(wish("B", 2))
    await warehouse.hold(wish("C", 2), ttl_ms=1)
    await warehouse.advance(1)
    calls = {
        "reserve": warehouse.reserve(wish("A", 1)),
        "extend": warehouse.extend(held),
        "confirm": warehouse.confirm(held),
        "fulfil": warehouse.fulfil(sold),
        "release": warehouse.release(held),
        "put": warehouse.put("A", "main", 12),
        "adjust": warehouse.adjust("A", 3),
        "pause": warehouse.pause("A"),
        "read_sku": warehouse.read_sku("C"),
        "read_reservation": warehouse.read_reservation(held.id),
        "expire": warehouse.expire(),
        "ticket": warehouse.ticket("s:main/D"),
        "tick": warehouse.tick(),
        "lease": warehouse.lease(1000),
        "settle": Call("settle", (), ("3", "1000", "1000", "1000", "s:main/A", f"r:{sold.id.random_part}")),
    }
    calls["batch"] = warehouse.as_batch(calls["reserve"], calls["release"])
    calls["changes"] = warehouse.as_changes(calls["confirm"], calls["fulfil"])
    calls["group"] = warehouse.as_group(calls["reserve"], warehouse.reserve(wish("B", 1)))
    await warehouse.remember()  # settle may drop what the audit wants to see
    return calls[script]


@pytest.mark.parametrize("script", GATED)
@pytest.mark.parametrize("epoch", [2, 99])
async def test_gate_wrong_epoch_is_closed(warehouse: Warehouse, script: str, epoch: int) -> None:
    """A caller of another epoch is told CLOSED, and nothing changed."""
    call = await call_of(warehouse, script)
    before = await warehouse.snapshot()

    reply = await warehouse.raw(call, epoch=epoch)

    assert reply == ["n", "CLOSED", "0", "0"]
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("script", GATED)
async def test_gate_meta_gone_is_closed(warehouse: Warehouse, script: str) -> None:
    """Without meta there is no shard: CLOSED, and nothing is written."""
    call = await call_of(warehouse, script)
    await warehouse.call("DEL", warehouse.keys.meta)
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    reply = await warehouse.raw(call)

    assert reply[1] == "CLOSED"
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("script", [name for name in LEASED if name not in ("settle", "ticket")])
async def test_gate_log_gone_is_closed_and_nothing_written(warehouse: Warehouse, script: str) -> None:
    """Without its log a shard answers nothing, as each header says: CLOSED, and nothing is written."""
    call = await call_of(warehouse, script)
    await warehouse.call("DEL", warehouse.keys.log)
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    reply = await warehouse.raw(call)

    assert await warehouse.snapshot() == before
    assert reply[1] == "CLOSED"


async def test_gate_log_gone_is_closed_also_for_what_would_change_nothing(warehouse: Warehouse) -> None:
    """Readings, refusals and replays write no entry; without the log they are CLOSED all the same."""
    await warehouse.stock("A", 10)
    held, sold = await warehouse.hold(wish("A", 2), key="k1"), await warehouse.sell(wish("A", 1))
    calls = {
        "reading": warehouse.read_sku("A"),
        "refusal": warehouse.reserve(wish("A", 99)),
        "refusals": warehouse.as_group(warehouse.reserve(wish("A", 99)), warehouse.reserve(wish("A", 98))),
        "replay": warehouse.reserve(wish("A", 2), key="k1"),
        "repetition": warehouse.confirm(sold),
        "state": warehouse.fulfil(held),
        "sweep": warehouse.expire(),
    }
    await warehouse.remember()
    await warehouse.call("DEL", warehouse.keys.log)
    warehouse.is_damaged = True

    statuses = {name: (await warehouse.raw(call))[1] for name, call in calls.items()}

    assert statuses == dict.fromkeys(calls, "CLOSED")


@pytest.mark.parametrize("script", GATED)
async def test_gate_poisoned_answers_before_everything_else(warehouse: Warehouse, script: str) -> None:
    """A poisoned shard says so, also to a caller of another epoch, and changes nothing."""
    call = await call_of(warehouse, script)
    await warehouse.call("HSET", warehouse.keys.meta, "poison", "broken")
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    replies = [await warehouse.raw(call), await warehouse.raw(call, epoch=9)]

    assert [reply[1] for reply in replies] == ["POISONED", "POISONED"]
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("script", TIMELY)
async def test_gate_late_call_changes_nothing(warehouse: Warehouse, script: str) -> None:
    """A call that runs after its caller's time is LATE; at its last millisecond it still runs."""
    call = await call_of(warehouse, script)
    before = await warehouse.snapshot()

    late = await warehouse.raw(call, late_ms=warehouse.now_ms - 1)
    unchanged = await warehouse.snapshot() == before
    in_time = await warehouse.raw(call, late_ms=warehouse.now_ms)

    assert (late[1], late[2], unchanged) == ("LATE", str(warehouse.now_ms), True)
    assert in_time[1] != "LATE"


@pytest.mark.parametrize("script", LEASED)
async def test_gate_lease_over_changes_nothing(warehouse: Warehouse, script: str) -> None:
    """Once TIME has passed the end of the lease nothing is done, and nothing is told but that; renewed, it goes on."""
    call = await call_of(warehouse, script)
    await warehouse.call("HSET", warehouse.keys.meta, "lease", await warehouse.server_ms() - 1)
    before = await warehouse.snapshot()

    lapsed = await warehouse.raw(call)
    unchanged = await warehouse.snapshot() == before
    await warehouse.raw(warehouse.lease(60_000))
    renewed = await warehouse.raw(call)

    assert (lapsed[1], lapsed[4:], unchanged) == ("LAPSED", [], True)
    assert renewed[1] != "LAPSED"


async def test_gate_clock_going_back_is_held(warehouse: Warehouse) -> None:
    """The shard's clock never runs backwards: behind meta.clock, time stands still."""
    reply = await warehouse.raw(warehouse.expire())

    assert reply[2] == str(START_MS)


async def test_gate_clock_is_kept_in_meta(warehouse: Warehouse) -> None:
    """A change moves meta.clock up to the server's time and not further."""
    await warehouse.stock("A", 10)
    await warehouse.call("HSET", warehouse.keys.meta, "clock", 5)
    before = await warehouse.call("TIME")

    await warehouse.raw(warehouse.reserve(wish("A", 1)))

    clock = int((await warehouse.content(warehouse.keys.meta))["clock"])
    after = await warehouse.call("TIME")
    assert int(before[0]) * 1000 <= clock <= int(after[0]) * 1000 + 1000


@pytest.mark.parametrize("script", NEW_WORK)
async def test_gate_backlog_full_refuses_new_work(warehouse: Warehouse, script: str) -> None:
    """With backlog_max events unflushed new holds, extends and stock writes are refused; with one less they are taken."""
    call = await call_of(warehouse, script)
    unflushed = warehouse.history[-1].seq
    before = await warehouse.snapshot()

    full = await warehouse.raw(call, backlog_max=unflushed)
    unchanged = await warehouse.snapshot() == before
    room = await warehouse.raw(call, backlog_max=unflushed + 1)

    assert (full[1], unchanged) == ("BACKLOG", True)
    assert room[1] in ("RESERVED", "EXTENDED", "APPLIED", "ADJUSTED")


@pytest.mark.parametrize("script", FREEING)
async def test_gate_backlog_full_leaves_a_spare_to_what_frees(warehouse: Warehouse, script: str) -> None:
    """Confirm, fulfil, release and expire work until a spare of 100,000 events is used up, too."""
    call = await call_of(warehouse, script)
    unflushed = warehouse.history[-1].seq
    before = await warehouse.snapshot()

    used_up = await warehouse.raw(call, backlog_max=unflushed - SPARE)
    unchanged = await warehouse.snapshot() == before
    room = await warehouse.raw(call, backlog_max=unflushed - SPARE + 1)

    assert (used_up[1], unchanged) == ("BACKLOG", True)
    assert room[1] in ("CONFIRMED", "FULFILLED", "RELEASED", "SWEPT")


async def test_gate_backlog_counts_from_the_checkpoint(warehouse: Warehouse) -> None:
    """What is flushed does not count: after a settle there is room again."""
    call = await call_of(warehouse, "reserve")
    unflushed = warehouse.history[-1].seq
    await warehouse.settle()

    reply = await warehouse.raw(call, backlog_max=unflushed)

    assert reply[1] == "RESERVED"


async def test_gate_backlog_in_a_batch_is_judged_per_operation(warehouse: Warehouse) -> None:
    """The events of earlier operations count: of two holds the second finds the backlog full, the release goes through."""
    await warehouse.stock("A", 10)
    held = await warehouse.hold(wish("A", 1))
    unflushed = (await warehouse.remember())[-1].seq
    calls = (warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1)), warehouse.release(held))

    reply = await warehouse.raw(warehouse.as_batch(*calls), backlog_max=unflushed + 1)

    assert [result[0] for result in reply[4:]] == ["RESERVED", "BACKLOG", "RELEASED"]


NEEDS = {
    "reserve": ("s:main/A",),
    "extend": ("r:held",),
    "confirm": ("r:held",),
    "fulfil": ("r:sold",),
    "release": ("r:held",),
    "put": ("s:main/A",),
    "adjust": ("s:main/A",),
    "pause": ("s:main/A",),
    "read_sku": ("s:main/C",),
    "read_reservation": ("r:held",),
    "batch": ("s:main/A", "r:held"),
}


@pytest.mark.parametrize("script", NEEDS)
async def test_gate_not_loaded_names_what_is_missing(warehouse: Warehouse, script: str) -> None:
    """A sku or reservation that is not in Redis is asked for by name, each once, and nothing changed."""
    call = await call_of(warehouse, script)
    wanted = []
    for name in NEEDS[script]:
        real = name
        if name.startswith("r:"):
            real = f"r:{_id_in(call.text)}" if script != "batch" else f"r:{_id_in(call.arguments[1])}"
        await warehouse.call("DEL", warehouse.keys.named(real))
        wanted.append(real)
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    reply = await warehouse.raw(call)

    assert (reply[1], reply[4:]) == ("NOT_LOADED", wanted)
    assert await warehouse.snapshot() == before


def _id_in(text: str) -> str:
    """The random part that an operation's text, or the bare argument, names."""
    return text.split("\t")[2] if "\t" in text else text


async def test_gate_not_loaded_names_several_once(warehouse: Warehouse) -> None:
    """All that is missing is told at once, in the order of the lines, repeated names once."""
    await warehouse.stock("B", 10)

    reply = await warehouse.raw(
        warehouse.reserve(wish("A", 1), wish("B", 1), wish("C", 1, "x"), wish("A", 2, "y"), random_part="r" * 16)
    )

    assert reply[4:] == ["s:main/A", "s:main/C"]


async def test_gate_not_loaded_record_is_asked_for_after_a_rebuild(warehouse: Warehouse) -> None:
    """Until ask_until a key without a record is asked for first; who has asked, or comes later, is served."""
    await warehouse.stock("A", 10)
    await warehouse.call("HSET", warehouse.keys.meta, "ask_until", warehouse.now_ms + 5)

    asked = await warehouse.raw(warehouse.reserve(wish("A", 1), key="k1"))
    adjust = await warehouse.raw(warehouse.adjust("A", 1, key="k2"))
    keyless = await warehouse.raw(warehouse.reserve(wish("A", 1)))
    answered = await warehouse.raw(warehouse.reserve(wish("A", 1), key="k1", has_asked=True))
    adjusted = await warehouse.raw(warehouse.adjust("A", 1, key="k2", has_asked=True))
    await warehouse.advance(5)
    later = await warehouse.raw(warehouse.reserve(wish("A", 1), key="k3"))

    assert (asked[1], asked[4:]) == ("NOT_LOADED", ["q:k1"])
    assert (adjust[1], adjust[4:]) == ("NOT_LOADED", ["q:k2"])
    assert [reply[1] for reply in (keyless, answered, adjusted, later)] == [
        "RESERVED",
        "RESERVED",
        "ADJUSTED",
        "RESERVED",
    ]


async def test_gate_not_loaded_record_that_is_installed_is_a_replay(warehouse: Warehouse) -> None:
    """A record brought back from the durable store answers as it did before the rebuild."""
    await warehouse.stock("A", 10)
    first = await warehouse.hold(wish("A", 1), key="k1")
    record = await warehouse.call("GET", warehouse.keys.request("k1"))
    await warehouse.call("DEL", warehouse.keys.request("k1"))
    await warehouse.call("HSET", warehouse.keys.meta, "ask_until", warehouse.now_ms + DAY_MS)

    asked = await warehouse.raw(warehouse.reserve(wish("A", 1), key="k1"))
    assert await warehouse.install("q:k1", [record]) == "LOADED"
    answered = await warehouse.raw(warehouse.reserve(wish("A", 1), key="k1"))

    assert asked[1] == "NOT_LOADED"
    assert (answered[1], answered[4]) == ("REPLAYED", first.id.random_part)


MORE_DUE = ("reserve", "put", "adjust", "pause", "read_sku", "batch")


@pytest.mark.parametrize("script", MORE_DUE)
async def test_gate_more_due_takes_back_64_and_asks_again(warehouse: Warehouse, script: str) -> None:
    """More than 64 due holds of a sku: 64 come back, the caller repeats and is served."""
    await warehouse.stock("A", 70)
    for _ in range(65):
        await warehouse.hold(wish("A", 1), ttl_ms=1000)
    live = await warehouse.hold(wish("A", 2))
    await warehouse.advance(1000)
    call = {
        "reserve": warehouse.reserve(wish("A", 68)),
        "put": warehouse.put("A", "main", 100),
        "adjust": warehouse.adjust("A", 1, key="k"),
        "pause": warehouse.pause("A"),
        "read_sku": warehouse.read_sku("A"),
        "batch": warehouse.as_batch(warehouse.reserve(wish("A", 68)), warehouse.release(live)),
    }[script]

    first = await warehouse.raw(call)
    expired = [e for e in await warehouse.remember() if e.type == "stock.expired"]
    second = await warehouse.raw(call)

    assert (first[1], len(expired)) == ("MORE_DUE", 64)
    assert second[1] in ("RESERVED", "APPLIED", "ADJUSTED", "SKUS", "BATCH")
    assert (await warehouse.level("A")).held in (2, 70, 68)


@pytest.mark.parametrize("script", ["confirm", "extend", "release", "fulfil", "read_reservation"])
async def test_gate_more_due_by_many_due_reservations_of_one_batch(warehouse: Warehouse, script: str) -> None:
    """A batch over 70 due holds takes back 64, then the rest, and answers as for expired ones."""
    await warehouse.stock("A", 70)
    holds = [await warehouse.hold(wish("A", 1), ttl_ms=1000) for _ in range(70)]
    await warehouse.advance(1000)
    if script == "read_reservation":
        replies = [await warehouse.raw(warehouse.read_reservation(r.id)) for r in holds]
        assert [(reply[1], reply[5][0]) for reply in replies] == [("FOUND", "e")] * 70
        return
    calls = [getattr(warehouse, script)(r) for r in holds]

    first = await warehouse.raw(warehouse.as_batch(*calls))
    second = await warehouse.raw(warehouse.as_batch(*calls))

    assert (first[1], second[1]) == ("MORE_DUE", "BATCH")
    assert {result[0] for result in second[4:]} == {"RELEASED" if script == "release" else "STATE"}
    assert await warehouse.counters("A") == (70, 0, 0)


async def test_gate_more_due_for_a_reacquire(warehouse: Warehouse) -> None:
    """A confirm that takes units again takes back what is due of its sku first, a bounded number at a time."""
    await warehouse.stock("A", 70)
    lost = await warehouse.hold(wish("A", 2), ttl_ms=10)
    await warehouse.advance(10)
    await warehouse.run(warehouse.expire())
    for _ in range(70):
        await warehouse.hold(wish("A", 1), ttl_ms=1000)
    await warehouse.advance(1000)

    first = await warehouse.raw(warehouse.confirm(lost, reacquire=True))
    second = await warehouse.raw(warehouse.confirm(lost, reacquire=True))

    assert (first[1], second[1], second[6]) == ("MORE_DUE", "CONFIRMED", "1")
    assert await warehouse.counters("A") == (70, 0, 2)


async def test_gate_nobody_finds_another_shops_reservation(warehouse: Warehouse) -> None:
    """NOT_FOUND for another shop, and for a public id whose birth is another one's; nothing changed."""
    await warehouse.stock("A", 10)
    held = await warehouse.hold(wish("A", 2))
    wrong_seq = held.id._replace(seq=held.id.seq + 1)
    wrong_epoch = held.id._replace(epoch=2)
    before = await warehouse.snapshot()

    builders = [warehouse.extend, warehouse.confirm, warehouse.fulfil, warehouse.release]
    calls = [build(held, shop="other") for build in builders]
    calls += [build(replace(held, id=id)) for build in builders for id in (wrong_seq, wrong_epoch)]
    statuses = [(await warehouse.run(call)).status for call in calls]

    assert statuses == ["NOT_FOUND"] * 12
    assert await warehouse.snapshot() == before


async def test_shard_turns_gates_into_errors(warehouse: Warehouse) -> None:
    """Python tells a closed shard, a late call and a full backlog as what they are, each with the outcome not_applied."""
    call = await call_of(warehouse, "reserve")
    shard = warehouse.shard

    await warehouse.call("HSET", warehouse.keys.meta, "clock", warehouse.now_ms + 60_000)
    with pytest.raises(Overloaded, match="waited too long") as late:
        await shard.run(call.script, call.keys, call.arguments)
    await warehouse.move_clock_to(warehouse.now_ms + 60_000)
    shard._limits.backlog_max = 1
    with pytest.raises(Overloaded, match="not yet persisted") as full:
        await shard.run(call.script, call.keys, call.arguments)
    shard.epoch = 5
    with pytest.raises(ShardRecovering) as closed:
        await shard.run(call.script, call.keys, call.arguments)
    is_open = shard.is_open
    shard.open_under(1, 1, warehouse.link.lineage, 0)
    shard._limits.backlog_max = 1_000_000

    assert [e.value.outcome for e in (late, full, closed)] == ["not_applied"] * 3
    assert not is_open
