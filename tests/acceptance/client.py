"""A client that knows the contract: every answer it gets is held against the rules that all answers obey."""

from __future__ import annotations

import asyncio
import json as json_text
import time
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from tests.acceptance.answers import (
    Answer,
    check_level,
    check_problem,
    check_reservation,
    check_shortages,
    check_stock,
    check_worth,
)

JSON = "application/json"
LEAKS = ("Traceback", 'File "', "redis.sock", "gateway.sqlite3", "127.0.0.1", ".py:", "asyncpg", "sqlalchemy")
RELEASE_SECONDS_MAX = 30.0


class Client:
    """Calls on one shop of one gateway. Paths are given as they stand on the wire, percent-encoded."""

    def __init__(self, session: aiohttp.ClientSession, address: str, shop: str | None) -> None:
        self.session = session
        self.address = address
        self.shop = shop
        self._sequence = 0

    def for_shop(self, shop: str | None) -> Client:
        """The same connections, another shop; None sends no shop."""
        return Client(self.session, self.address, shop)

    async def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str | None = JSON,
        headers: dict[str, str] | None = None,
        key: str | None = None,
        **query: Any,
    ) -> Answer:
        """One request, and its answer held against the rules for all answers. `raw` goes out as it is."""
        payload = json_text.dumps(json).encode() if json is not None else raw
        sent = dict(headers or {})
        if payload is not None and content_type is not None:
            sent.setdefault("Content-Type", content_type)
        if key is not None:
            sent["Idempotency-Key"] = key
        if self.shop is not None and path.startswith("/v1/"):
            query.setdefault("shop", self.shop)
        url = self.address + path
        if query:
            url += "?" + urlencode({name: value for name, value in query.items() if value is not None})
        request = self.session.request(
            method,
            URL(url, encoded=True),
            # aiohttp warns of large bytes; a stream with a known length is sent in the same way
            data=None if payload is None else BytesIO(payload),
            headers=sent,
            skip_auto_headers=["Content-Type"],
            allow_redirects=False,
        )
        async with request as response:
            answer = _parsed(response.status, response.headers, await response.text())
        check_answer(answer)
        return answer

    async def get(self, path: str, **query: Any) -> Answer:
        """GET."""
        return await self.call("GET", path, **query)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """POST; without `json` and `raw` the body is empty and has no Content-Type."""
        return await self.call("POST", path, json, **options)

    async def is_ready(self) -> bool:
        """Whether the gateway says that it can do its work. Its 503 is an answer, not a problem."""
        async with self.session.get(f"{self.address}/readyz") as answer:
            return answer.status == 200

    # -- stock ---------------------------------------------------------------------------------------------

    async def put_level(self, sku: str, location: str = "main", **options: Any) -> Answer:
        """A raw write of a level; what is not an option of a call is a field of the body."""
        calls = {name: options.pop(name) for name in ("headers", "ack") if name in options}
        return await self.call("PUT", f"{stock_path(sku)}/{location}", options, **calls)

    async def stock_up(self, sku: str, on_hand: int, location: str = "main", **fields: Any) -> dict[str, Any]:
        """The level has `on_hand` units; returns it."""
        self._sequence += 1
        body = {"source": "setup", "sequence": self._sequence, "on_hand": on_hand} | fields
        answer = await self.put_level(sku, location, **body)
        assert answer.status == 200, answer.text
        check_level(answer.body)
        check_worth(answer.body)
        return dict(answer.body)

    async def stock(self, sku: str) -> dict[str, Any]:
        """The sku as it is now."""
        answer = await self.get(stock_path(sku))
        assert answer.status == 200, answer.text
        check_stock(answer.body)
        return dict(answer.body)

    async def level(self, sku: str, location: str = "main") -> dict[str, Any]:
        """One level as it is now."""
        return next(level for level in (await self.stock(sku))["locations"] if level["location"] == location)

    async def counters(self, sku: str, location: str = "main") -> tuple[int, int, int, int]:
        """on_hand, held, committed, available of one level."""
        level = await self.level(sku, location)
        return level["on_hand"], level["held"], level["committed"], level["available"]

    async def adjust(self, sku: str, delta: Any, key: str | None, location: str = "main", **options: Any) -> Answer:
        """A raw adjust with the reason `count`."""
        headers = options.pop("headers", None)
        body = {"delta": delta, "reason": "count"} | options
        return await self.post(f"{stock_path(sku)}/{location}/adjust", body, key=key, headers=headers)

    # -- reservations --------------------------------------------------------------------------------------

    async def reserve(self, *lines: Any, key: str | None = None, ack: str | None = None, **fields: Any) -> Answer:
        """A raw reserve; a line is `(sku, quantity)`, `(sku, quantity, location)` or its body."""
        body = {"lines": [line if isinstance(line, dict) else line_of(*line) for line in lines]} | fields
        answer = await self.post("/v1/reservations", body, key=key, ack=ack)
        if answer.status == 201:
            check_reservation(answer.body)
            if answer.body.get("shortages"):
                check_shortages(answer.body["shortages"])
        return answer

    async def hold(self, sku: str, quantity: int = 1, **fields: Any) -> dict[str, Any]:
        """The units are held; returns the reservation."""
        answer = await self.reserve((sku, quantity), **fields)
        assert answer.status == 201, answer.text
        return dict(answer.body)

    async def act(self, operation: str, reservation_id: str, body: Any = None, **options: Any) -> Answer:
        """extend, confirm, fulfil, release or delete of a reservation."""
        path = f"/v1/reservations/{quote(reservation_id, safe='')}"
        if operation == "delete":
            answer = await self.call("DELETE", path, body, **options)
        else:
            answer = await self.post(f"{path}/{operation}", body, **options)
        if answer.status == 200:
            check_reservation(answer.body)
        return answer

    async def done(self, operation: str, reservation_id: str, body: Any = None) -> dict[str, Any]:
        """The operation succeeded; returns the reservation."""
        answer = await self.act(operation, reservation_id, body)
        assert answer.status == 200, answer.text
        return dict(answer.body)

    async def reservation(self, reservation_id: str) -> dict[str, Any]:
        """The reservation as it is now."""
        answer = await self.get(f"/v1/reservations/{reservation_id}")
        assert answer.status == 200, answer.text
        check_reservation(answer.body)
        return dict(answer.body)

    async def ended(self, reservation_id: str) -> dict[str, Any]:
        """The reservation is not held any more: waits for its deadline at the longest."""
        end = time.monotonic() + RELEASE_SECONDS_MAX
        while (found := await self.reservation(reservation_id))["state"] == "held":
            assert time.monotonic() < end, found
            await asyncio.sleep(0.02)
        return found

    async def expired(self, reservation_id: str) -> dict[str, Any]:
        """The reservation reads `expired`: waits for its deadline."""
        found = await self.ended(reservation_id)
        assert found["state"] == "expired", found
        return found

    async def batch(self, *operations: Any, **options: Any) -> list[dict[str, Any]]:
        """The results of a batch that was accepted."""
        answer = await self.post("/v1/batch", {"operations": list(operations)}, **options)
        assert answer.status == 200, answer.text
        results = answer.body["results"]
        assert len(results) == len(operations)
        for result in results:
            if result["status"] >= 400:
                check_problem(result["body"], result["status"])
            assert ("retry_after_seconds" in result["body"]) == (result["status"] in {429, 503}), result
        return list(results)


def line_of(sku: Any, quantity: Any, location: str | None = None) -> dict[str, Any]:
    """A line of a reserve."""
    line = {"sku": sku, "quantity": quantity}
    return line if location is None else line | {"location": location}


def stock_path(sku: str) -> str:
    """The path of a sku, every character that is not plain percent-encoded."""
    return f"/v1/stock/{quote(sku, safe='')}"


def check_answer(answer: Answer) -> None:
    """Every answer has a request id; every refusal is a complete problem that tells nothing of our inside."""
    assert answer.headers.get("X-Request-Id"), answer
    if answer.status < 400:
        return
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json", answer
    check_problem(answer.body, answer.status)
    assert answer.body["request_id"] == answer.headers["X-Request-Id"], answer
    assert not [leak for leak in LEAKS if leak in answer.text], answer.text
    if answer.status in {429, 503}:
        assert int(answer.headers["Retry-After"]) >= 0, answer


def _parsed(status: int, headers: Any, text: str) -> Answer:
    kind = headers.get("Content-Type", "").split(";")[0]
    body = json_text.loads(text) if kind.endswith("json") and text else text
    return Answer(status, headers, body, text)
