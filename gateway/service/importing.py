"""Imports of stock: rows as they come, many per call of Redis, each with its own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from gateway.domain.answer import ImportRow
from gateway.domain.command import Ack, Call, PutLevel
from gateway.domain.errors import Overloaded
from gateway.hot.operations import parse_sku, put_text
from gateway.service.books import Books
from gateway.service.content import content_of

ROWS_MAX = 200  # rows one call of Redis writes
FULL_WAIT_S = 30.0  # how long an import waits while the books are too full to take more


class ImportRun:
    """One import.

    A row that comes again, or an import that is run again, changes nothing: each row has its sequence.
    """

    def __init__(self, books: Books, source: str, call: Call, ack: Ack) -> None:
        self._books = books
        self._source = source
        self._call = call
        self._ack = ack
        self._told: Counter[str] = Counter()
        self._rejected: list[tuple[int, str]] = []
        self._newest = (0, 0)

    async def run(self, rows: AsyncIterator[ImportRow]) -> tuple[int, int, int, list[tuple[int, str]]]:
        """(applied, unchanged, stale, rejected rows with the reason)."""
        chunk: dict[tuple[str, str], ImportRow] = {}
        async for row in rows:
            place = (row.sku, row.location)
            if len(chunk) >= ROWS_MAX or place in chunk:  # two rows of one level go in their order
                await self._write(list(chunk.values()))
                chunk = {}
            chunk[place] = row
        await self._write(list(chunk.values()))
        if self._newest != (0, 0):
            await self._books.settle(*self._newest, self._ack)
        told = self._told
        return told["APPLIED"], told["UNCHANGED"], told["STALE"], self._rejected

    async def _write(self, rows: list[ImportRow]) -> None:
        if not rows:
            return
        texts = tuple(self._text(row) for row in rows)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + FULL_WAIT_S
        left = list(zip(rows, texts, strict=True))
        while left:
            answer = await self._books.run("batch", (), tuple(text for _, text in left))
            results = answer.nested()
            full = [one for one, result in zip(left, results, strict=True) if result[0] == "BACKLOG"]
            for (row, _), result in zip(left, results, strict=True):
                self._count(row, result)
            if full and loop.time() > until_s:
                raise Overloaded("too much is not yet persisted; rows before this stand, repeat the import")
            if full:
                await asyncio.sleep(0.1)
            left = full

    def _text(self, row: ImportRow) -> str:
        put = PutLevel(row.sku, row.location, self._source, row.sequence, row.on_hand, None, row.safety_stock)
        return put_text(put, shop=self._call.shop, actor=self._call.actor, content=content_of(put), reflects=())

    def _count(self, row: ImportRow, result: list[str]) -> None:
        status = result[0]
        if status in ("APPLIED", "UNCHANGED"):
            level = parse_sku(result[1]).levels[row.location]
            self._newest = max(self._newest, (level.epoch, level.seq))
        if status in ("APPLIED", "UNCHANGED", "STALE"):
            self._told[status] += 1
        elif status == "TOO_MANY_SOURCES":
            self._rejected.append((row.row, "100 other sources have told about this level, which is the most"))
