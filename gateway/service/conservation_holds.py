"""The holds in Redis: each is known to the durable store or the log, each stands in the indexes that return it, and none is missing.

Redis cannot be asked for all of it at one moment without stopping sales. So what looks wrong is looked at again, and told only when it
is still wrong: a hold and its index entries change in one step, and what is damaged stays so.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from gateway.domain.reservation import HELD
from gateway.durable.ledger import Ledger, StoredReservation
from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_indexes import Indexes, Look
from gateway.service.conservation_lives import public_id, read_place
from gateway.service.conservation_tail import Tail
from gateway.service.verdict import durable_read

KEYS_PAGE: Final = 500
LOOKS: Final = 3  # times that something must be wrong, with a pause between them, before it is told
PAUSE_S: Final = 0.02


class Holds:
    """The reservations that one shard has in Redis."""

    def __init__(self, shard: Shard, ledger: Ledger, tail: Tail, findings: Findings) -> None:
        self._shard = shard
        self._ledger = ledger
        self._tail = tail
        self._findings = findings
        self._indexes = Indexes(shard)
        # Random parts, and skus as shop/sku, that were told of: what follows from the same damage is no news.
        self._told: set[str] = set()

    async def check_kept(self, held: list[StoredReservation]) -> None:
        """Each hold of the durable store is in Redis, or has ended since."""
        if not held:
            return
        texts = await self._texts([row.random_part for row in held])
        for row, text in zip(held, texts, strict=True):
            if text is None:
                where = public_id(self._shard.number, row.random_part, row.packed)
                await self._tell_lasting("lost", where, partial(self._lost, row.random_part), row.random_part)

    async def check_hot(self, wrong: set[str]) -> None:
        """Each reservation in Redis is as the durable store or the log tells it, and each hold is in its indexes.

        Those in `wrong` were told of already. Cost: every key of a reservation and of an index is read once, and the row of each.
        """
        base = f"{self._shard.keys.base}r:"
        async for keys in key_pages(self._shard, base, KEYS_PAGE):
            await self._check_page([key.removeprefix(base) for key in keys], wrong)
            await asyncio.sleep(0)
        async for kind, where, look in self._indexes.suspects(self._findings.checked):
            sku, _, random_part = where.rpartition("/") if kind == "orphan" else ("", "", where)
            if random_part not in self._told:
                await self._tell_lasting(kind, where, look, sku)

    async def _check_page(self, random_parts: list[str], wrong: set[str]) -> None:
        texts = await self._texts(random_parts)
        found = {one: text for one, text in zip(random_parts, texts, strict=True) if text is not None}
        self._findings.checked["hot_reservations"] += len(found)
        stored = await durable_read(self._ledger.stored_among(list(found)))
        for random_part, text in found.items():
            if random_part in wrong:
                continue
            place, row = read_place(text), stored.get(random_part)
            if place is None:
                self._findings.tell(8, "drift", random_part, "Redis has a text that no script writes")
                self._told.add(random_part)
                continue
            where = public_id(self._shard.number, random_part, text)
            if row is None or row.packed != text:
                kind = "unknown" if row is None else "drift"
                await self._tell_lasting(kind, where, partial(self._drift, random_part), random_part)
            if place[0] == HELD and random_part not in self._told:
                await self._check_indexed(where, random_part, text)

    async def _check_indexed(self, where: str, random_part: str, text: str) -> None:
        if await self._indexes.missing(random_part, text) is not None:
            shop, skus = text.split("\t", 10)[9], [row.split("\t", 1)[0] for row in text.split("\n")[1:]]
            names = [f"{shop}/{sku}" for sku in skus]
            await self._tell_lasting("unindexed", where, partial(self._unindexed, random_part), random_part, *names)

    async def _texts(self, random_parts: list[str]) -> list[str | None]:
        if not random_parts:
            return []
        return await self._shard.ask_list("MGET", *[self._shard.keys.reservation(one) for one in random_parts])

    async def _tell_lasting(self, kind: str, where: str, look: Look, *names: str) -> None:
        """Told if it is wrong each time that it is looked at, and then nothing more is told of `names`."""
        problem: str | None = None
        for at in range(LOOKS):
            if self._findings.is_full:
                return
            if at:
                await asyncio.sleep(PAUSE_S)
            problem = await look()
            if problem is None:
                return
        self._findings.tell(8, kind, where, str(problem))
        self._told.update(names)

    async def _lost(self, random_part: str) -> str | None:
        """How the durable store holds what Redis does not have; the row is read last, and what ended meanwhile says so."""
        (text,) = await self._texts([random_part])
        row = (await durable_read(self._ledger.stored_among([random_part]))).get(random_part)
        if text is not None or row is None or row.state != HELD:
            return None
        return f"the durable store holds it since seq {row.seq}, and Redis does not have it: nobody returns its units"

    async def _drift(self, random_part: str) -> str | None:
        """How Redis and the durable store differ, after what Redis told of is committed."""
        (text,) = await self._texts([random_part])
        if text is None:
            return None
        place = read_place(text)
        if place is None:
            return "Redis has a text that no script writes"
        state, seq = place
        if not await self._tail.is_committed(int(text.split("\t", 3)[2]), seq):
            return f"Redis has it {state} at seq {seq}, which the shard has not come to"
        row = (await durable_read(self._ledger.stored_among([random_part]))).get(random_part)
        if row is None:
            return f"Redis has it {state} at seq {seq}, and neither the durable store nor the log knows it"
        if row.packed == text:
            return None
        return f"Redis has it {state} at seq {seq}, the durable store {row.state} at seq {row.seq}" + (
            ", with another content" if row.seq == seq else ""
        )

    async def _unindexed(self, random_part: str) -> str | None:
        (text,) = await self._texts([random_part])
        place = None if text is None else read_place(text)
        if text is None or place is None or place[0] != HELD:
            return None
        return await self._indexes.missing(random_part, text)
