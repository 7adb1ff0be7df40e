"""What a sale sells: skus of its own, made before it and cleared after it."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from gateway.cli.answer import AnswerUnreadable, Denied, GaveUp, RemoteFailed
from gateway.cli.play.crowd import crowd
from gateway.cli.play.level import LevelRead, read_levels
from gateway.cli.remote import Remote, segment
from gateway.cli.sale.figures import Figures
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.timeline import StockSample
from gateway.cli.upload import Upload

SAMPLE_SECONDS = 0.5
#: Operations of one batch; the gateway takes 1000.
BATCH_MAX = 500
PAGE = "1000"
PAGES_MAX = 10_000
CLEARING_AT_ONCE = 8
SHOWN_MAX = 5

#: What a release may be answered with where there is nothing to give back any more.
_GONE = frozenset({"reservation_lost", "reservation_not_found", "reservation_fulfilled"})


class StartRefused(RemoteFailed):
    """The skus could not be made as the sale needs them; nothing was played."""


@dataclass(slots=True)
class Cleared:
    """What was cleaned up: `released` reservations, `paused` skus; `failures` says in words what was not (empty: all was)."""

    released: int = 0
    paused: int = 0
    failures: list[str] = field(default_factory=list)


class Goods:
    """The skus of one sale in the gateway."""

    def __init__(self, remote: Remote, plan: Plan) -> None:
        self._remote = remote
        self._plan = plan
        self._skus = [plan.sku(index) for index in range(plan.skus)]
        self._sequence = 0
        self._is_made = False

    async def make(self) -> None:
        """Every sku has its units, and nothing held or committed.

        Raises:
            StartRefused: a level was not taken, or reads otherwise.
            Denied, GaveUp: as the calls.
        """
        self._is_made = True
        try:
            await self._put(self._plan.units)
        except Denied:
            # Nothing is there to be cleared: the words about that would hide these.
            self._is_made = False
            raise
        fresh = LevelRead(self._plan.units, 0, 0, self._plan.units)
        read = await read_levels(self._remote, self._skus)
        other = [sku for sku in self._skus if read.levels.get((sku, self._plan.location)) != fresh]
        if other:
            raise StartRefused(
                f"{len(other)} levels are not what was just put, beginning with {', '.join(other[:SHOWN_MAX])}"
            )

    async def levels(self) -> dict[str, LevelRead | None]:
        """Each sku's totals; None where the gateway does not know it."""
        read = await read_levels(self._remote, self._skus)
        return {sku: read.totals.get(sku) for sku in self._skus}

    async def watch(self, figures: Figures) -> None:
        """Reads the stock again and again until it is cancelled. A reading that fails is left out: the sale does not hang on it."""
        while True:
            try:
                levels = [level for level in (await self.levels()).values() if level is not None]
            except RemoteFailed:
                figures.count_code("stock_not_read")
            else:
                figures.read(
                    StockSample(
                        sum(level.available for level in levels),
                        sum(level.held for level in levels),
                        sum(level.committed for level in levels),
                    )
                )
            await asyncio.sleep(SAMPLE_SECONDS)

    async def clear(self, known: Iterable[str]) -> Cleared:
        """The skus are paused, all reservations of the sale released, sold ones too, and every level is 0.

        `known` are ids by the answers; others are looked for by the sale's reference. What fails is told, not raised: there is nobody
        left to repeat it.
        """
        cleared = Cleared()
        if not self._is_made:
            return cleared
        try:
            # First, so that a request that is still on its way takes nothing any more.
            await self._pause(cleared)
            await self._release(list(known), cleared)
            for state in ("held", "confirmed"):
                await self._release([str(found.get("id")) for found in await self.search(state=state)], cleared)
            await self._put(0)
            await self._await_empty()
        except RemoteFailed as exc:
            cleared.failures.append(str(exc))
        return cleared

    async def search(self, **narrowed: str) -> list[dict[str, object]]:
        """The reservations of this sale in the durable store, all or those of a state.

        Raises:
            AnswerUnreadable: a page of another shape, or pages without end.
            Denied, GaveUp: as the calls.
        """
        found: list[dict[str, object]] = []
        cursor: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            answer = await self._remote.get(
                "/v1/reservations", reference=self._plan.run, limit=PAGE, **narrowed, **cursor
            )
            body = answer.required("searching for the sale's reservations")
            page = body.get("reservations")
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                raise AnswerUnreadable(f"a page of reservations reads {str(body)[:200]}")
            found += page
            following = body.get("next_cursor")
            if not following:
                return found
            cursor = {"cursor": str(following)}
        raise AnswerUnreadable(f"the search for the sale's reservations has more than {PAGES_MAX:,} pages")

    async def _put(self, units: int) -> None:
        # The time as the sequence: the run's name is fresh, so it only has to rise within the run.
        self._sequence = max(self._sequence + 1, time.time_ns() // 1_000_000)
        rows = b"".join(
            orjson.dumps({"sku": sku, "location": self._plan.location, "on_hand": units}) + b"\n" for sku in self._skus
        )
        upload = Upload(self._remote, "ndjson", f"flashsale-{self._plan.run}", self._sequence)
        imported = await upload.run(io.BytesIO(rows))
        if imported.rejected_count or imported.stale:
            reasons = "".join(f"; {reason}" for _, reason in imported.rejected[:SHOWN_MAX])
            raise StartRefused(f"{imported.rejected_count} levels were rejected, {imported.stale} are stale{reasons}")

    async def _pause(self, cleared: Cleared) -> None:
        waiting = iter(self._skus)

        async def one() -> None:
            for sku in waiting:
                answer = await self._remote.post(f"/v1/stock/{segment(sku)}/pause", {"reason": "flash sale test ended"})
                answer.required(f"pausing {sku}")
                cleared.paused += 1

        await crowd(min(CLEARING_AT_ONCE, len(self._skus)), one)

    async def _release(self, ids: list[str], cleared: Cleared) -> None:
        for at in range(0, len(ids), BATCH_MAX):
            chunk = ids[at : at + BATCH_MAX]
            operations = [{"op": "release", "id": id, "body": {"reason": "flash sale test"}} for id in chunk]
            answer = await self._remote.post("/v1/batch", {"operations": operations})
            results = answer.required("releasing the sale's reservations").get("results")
            if not isinstance(results, list) or len(results) != len(chunk):
                raise AnswerUnreadable(f"a batch of {len(chunk)} was answered {str(results)[:200]}")
            for id, result in zip(chunk, results, strict=True):
                code = result.get("body", {}).get("code", "")
                if code and code not in _GONE:
                    cleared.failures.append(f"{id}: {code}")
                else:
                    cleared.released += 1

    async def _await_empty(self) -> None:
        """Every counter reads 0.

        Raises:
            GaveUp: not so after a while.
        """
        end = asyncio.get_running_loop().time() + self._plan.settle_seconds_max
        while full := [sku for sku, level in (await self.levels()).items() if level != LevelRead(0, 0, 0, 0)]:
            if asyncio.get_running_loop().time() > end:
                raise GaveUp(f"{len(full)} levels are not empty, beginning with {', '.join(full[:SHOWN_MAX])}")
            await asyncio.sleep(SAMPLE_SECONDS)
