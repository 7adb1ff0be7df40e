"""The claim on a shard's row: it is this opener's for a while, and longer as long as the opening goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from gateway.domain.errors import ShardRecovering
from gateway.durable.ledger import Ledger, LedgerError, ShardRow

log = structlog.get_logger(__name__)

PAUSE_S_MIN: Final = 0.5  # between two renewals
#: One page, or one answer of a store, takes no longer where anything is well; an opening that hangs is overtaken after that.
SILENCE_S_MAX: Final = 25.0


class Claim:
    """Begins with the raising of the epoch. It is short, so that a dead or frozen opener is overtaken soon; so it is renewed all the
    time, also while a store takes long over one answer. `keep` is called with each page of work, and tells that something comes of it.
    """

    def __init__(self, ledger: Ledger, shard: int, owner: str, lease_ms: int) -> None:
        """`lease_ms`: the time after a renewal in which nobody else may have the row."""
        self._ledger = ledger
        self._shard = shard
        self._owner = owner
        self._lease_ms = lease_ms
        self._epoch = 0
        self._since_s = 0.0  # by the loop's clock, as is the next
        self._worked_s = 0.0
        self._renewing: asyncio.Task[None] | None = None

    def begin(self, epoch: int) -> None:
        """The row has just been claimed under this epoch, and stays this opener's until `end`."""
        self._epoch = epoch
        self._since_s = self._worked_s = asyncio.get_running_loop().time()
        self._renewing = asyncio.create_task(self._renew(), name="claim")

    async def end(self) -> None:
        """The row is renewed no more: what is left of its time is left. Safe without a beginning."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def keep(self) -> None:
        """The row stays this opener's, however long it takes. Raises ShardRecovering when it is another's."""
        self._worked_s = asyncio.get_running_loop().time()
        is_fresh = self._worked_s - self._since_s < self._lease_ms / 3000
        if not is_fresh and not await self._prolong():
            raise ShardRecovering("another gateway has overtaken this one")

    async def _renew(self) -> None:
        """Until the row is no longer ours to keep, or nothing has come of the opening for too long."""
        loop = asyncio.get_running_loop()
        while loop.time() - self._worked_s < SILENCE_S_MAX:
            await asyncio.sleep(max(self._lease_ms / 3000, PAUSE_S_MIN))
            try:
                if not await self._prolong():
                    return  # who does the work finds out with the next page, or at the end
            except LedgerError as problem:
                log.warning("claim_not_renewed", problem=str(problem))

    async def _prolong(self) -> bool:
        """Whether the row still is this opener's, and then for the whole time from now on. Raises LedgerError."""
        now_s = asyncio.get_running_loop().time()
        is_ours = await self._ledger.keep_claim(self._shard, self._epoch, self._owner, self._lease_ms)
        if is_ours:
            self._since_s = now_s
        return is_ours


class AnothersClaim:
    """What is seen of the claim of another opener, in one turn after the other."""

    def __init__(self, owner: str) -> None:
        """`owner` is us."""
        self._owner = owner
        self._seen: tuple[tuple[int, str, int], float] | None = None  # another's opening, and since when it is seen

    def is_running(self, row: ShardRow, lease_ms: int) -> bool:
        """Whether another opener is at work, so that the epoch is better not even asked for.

        The store would refuse while its time runs, and raise the epoch of a shard that it has opened since the row was read.
        Whether its time is over is told by this host's clock, or by as long a wait where that is behind the store's.
        """
        if row.state != "recovering" or row.owner in ("", self._owner):
            self._seen = None
            return False
        seen, now_s = (row.epoch, row.owner, row.owner_deadline_ms), asyncio.get_running_loop().time()
        if self._seen is None or self._seen[0] != seen:
            self._seen = (seen, now_s)
        has_waited = now_s - self._seen[1] >= lease_ms / 1000
        return time.time() * 1000 < row.owner_deadline_ms and not has_waited
