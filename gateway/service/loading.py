"""Loading: what a script needs and Redis does not hold is read from the durable store and installed, unless it was overtaken.

The ticket is taken in Redis before the row is read. It lives shorter than any evictable key, so a load that was
overtaken by another
load, a change, its flush and an eviction finds its ticket gone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable

from gateway import metrics
from gateway.domain.errors import Corrupt, DurableStoreUnavailable, ShardRecovering
from gateway.domain.policy import Policy
from gateway.domain.reservation import parse_reservation
from gateway.domain.stock import Sku
from gateway.durable.ledger import Ledger, LedgerUnavailable
from gateway.hot.operations import sku_fields
from gateway.hot.shard import Shard

TICKET_MS = 1000  # shorter than the shortest life of an evictable key, which is 2 s
ABSENT_MS = 2000  # how long "there is no such sku" is known; long enough for the call that asked
LOADS_MAX = 64  # loads under way at once


class Loader:
    """Brings skus, reservations and request records from the ledger into one shard."""

    def __init__(self, shard: Shard, ledger: Ledger, policy: Callable[[], Policy]) -> None:
        self._shard = shard
        self._ledger = ledger
        self._policy = policy
        self._tokens = itertools.count()
        self._token_prefix = os.urandom(6).hex()
        self._slots = asyncio.Semaphore(LOADS_MAX)

    async def load(self, names: list[str]) -> set[str]:
        """Every named item is in Redis, by us or by another, or may be asked for again. Returns those the ledger does not know either.

        Names are those of scripts: "s:" shop/sku, "r:" random part, "q:" record. A sku is never among the unknown: it is
        installed empty.

        Raises:
            DurableStoreUnavailable: the ledger does not answer; nothing changed.
            Corrupt: Redis has lost what it must hold, such as a sku with open holds.
        """
        absent = await asyncio.gather(*[self._load_one(name) for name in names])
        return {name for name, is_absent in zip(names, absent, strict=True) if is_absent}

    async def _load_one(self, name: str) -> bool:
        async with self._slots:
            ticket = self._shard.keys.ticket(name)
            token = f"{self._token_prefix}-{next(self._tokens)}"
            taken = await self._shard.run("ticket", (ticket,), (name, token, str(TICKET_MS)))
            if taken.status != "TAKEN":
                await asyncio.sleep(0.002)  # another load is under way; the script that asked looks again
                return False
            try:
                content = await self._read(name)
            except LedgerUnavailable as problem:
                metrics.LEDGER_ERRORS["load"].inc()
                await self._shard.ask("DEL", ticket)  # so that the next one who asks need not wait for its end
                raise DurableStoreUnavailable("the durable store does not answer") from problem
            if content is None:
                await self._shard.ask("DEL", ticket)
                return True
            life_ms, texts = content
            await self._install(name, ticket, token, life_ms, texts)
            return False

    async def _install(self, name: str, ticket: str, token: str, life_ms: int, texts: list[str]) -> None:
        shard = self._shard
        declared = (shard.keys.meta, shard.keys.named(name), ticket)
        reply = await shard.ask_script("load", declared, token, shard.epoch, token, life_ms, *texts)
        if reply[1] == "CLOSED":
            shard.close()

    async def _read(self, name: str) -> tuple[int, list[str]] | None:
        """The item's life in Redis and its content, or None when the ledger does not know it."""
        kind, rest = name[0], name[2:]
        policy: Policy = self._policy()
        if kind == "s":
            shop, sku = rest.split("/", 1)
            found = await self._ledger.read_sku(shop, sku) or Sku(shop, sku, False, "", {})
            is_held = any(level.held for level in found.levels.values())
            # Another load may have brought it, and a hold have been flushed, since it was missed; else Redis has lost it.
            if is_held and await self._shard.ask("EXISTS", self._shard.keys.sku(shop, sku)) != 1:
                await self._refuse_overtaken()
                raise Corrupt(f"Redis lost the open holds of sku {sku!r}")
            return self._sku(found, policy)
        if kind == "r":
            text = await self._ledger.read_reservation(rest)
            return None if text is None else (policy.ended_ttl_seconds * 1000, [text])
        return await self._request(rest, policy)

    async def _refuse_overtaken(self) -> None:
        """Pass where this epoch is still the shard's; else what the durable store tells has happened at another server."""
        row = await self._ledger.read_shard(self._shard.number)
        if row.epoch != self._shard.epoch:
            self._shard.close()
            raise ShardRecovering

    @staticmethod
    def _sku(sku: Sku, policy: Policy) -> tuple[int, list[str]]:
        life_ms = policy.idle_ttl_seconds * 1000 if sku.levels else ABSENT_MS
        return life_ms, sku_fields(sku, has_ttl=True)

    async def _request(self, record: str, policy: Policy) -> tuple[int, list[str]] | None:
        row = await self._ledger.read_request(record)
        if row is None:
            return None
        ended_ms: int | None = row.at_ms
        if row.target:
            packed = await self._ledger.read_reservation(row.target)
            if packed is None:
                raise Corrupt(f"request record {record} names a reservation that is not there")
            ended_ms = parse_reservation(self._shard.number, row.target, packed).ended_ms
        text = f"{row.fingerprint}\t{row.operation}\t{row.target}\t{row.epoch}\t{row.seq}"
        if ended_ms is None:
            return 0, [text]
        left_ms = ended_ms + policy.record_ms - self._shard.now_ms()
        return (left_ms, [text]) if left_ms > 0 else None
