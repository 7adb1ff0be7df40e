"""Damage as a broken script would do it: an event that should not be, on which log, Redis and the durable store agree."""

from __future__ import annotations

from gateway.domain.answer import ReservationAnswer
from gateway.domain.event import chain
from gateway.domain.totals import Totals, parse_totals
from gateway.service.conservation_totals import added
from tests.service.gateway import Gateway

Deltas = tuple[int, int, int]


async def plant_event(
    gateway: Gateway, type: str, text: str, random_part: str, *, reason: str = "", **skus: Deltas
) -> int:
    """The event and what it does are in Redis: the reservation's text, at its new seq, and (on_hand, held, committed) per sku.

    Returns its seq. The flusher brings it to the durable store.
    """
    keys = gateway.shard.keys
    last, digest = await gateway.redis("HMGET", keys.meta, "seq", "digest")
    seq, now_ms, epoch = int(last) + 1, await gateway.clock_ms(), gateway.shard.epoch
    totals = parse_totals(await gateway.redis("HGET", keys.meta, "totals"))
    head, *lines = text.split("\n")
    fields = head.split("\t")
    fields[2:4] = [str(epoch), str(seq)]
    head = "\t".join(fields)
    rows = [f"E\t{seq}\t{epoch}\t{type}\t{now_ms}\tmain\tkey:test\t\t{reason}\t", f"R\t{random_part}\t{head}"]
    rows += [f"I\t{line}" for line in lines]
    for sku, deltas in skus.items():
        level = (await gateway.redis("HGET", keys.sku("main", sku), "Lmain")).split(" ")
        on_hand, held, committed, deducted, safety, version = (int(number) for number in level[:6])
        totals = added(totals, Totals(held=deltas[1], on_hand=deltas[0], committed=deltas[2]))
        after = (on_hand + deltas[0], held + deltas[1], committed + deltas[2], deducted, safety, version + 1)
        rows.append("\t".join(["L", sku, "main", *map(str, after), *map(str, deltas), "0", "0"]))
        await gateway.redis("HSET", keys.sku("main", sku), "Lmain", " ".join(map(str, (*after, epoch, seq, now_ms))))
    payload = "\n".join(rows)
    link = chain(digest, payload)
    await gateway.redis("XADD", keys.log, f"{seq}-0", "e", payload, "d", link)
    await gateway.redis("SET", keys.reservation(random_part), "\n".join([head, *lines]))
    await gateway.redis("HSET", keys.meta, "seq", seq, "digest", link, "totals", totals.pack())
    return seq


def part_of(answer: ReservationAnswer) -> str:
    """The random part of the reservation."""
    return answer.reservation.id.random_part
