"""Requests of the traffic: what one client wants, as it goes over HTTP and as it is written down."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.faults.history import Answer, Call, History


@dataclass(frozen=True, slots=True)
class Request:
    """One operation with its body; `key` is its idempotency key, `subject` as in a `Call`."""

    operation: str
    body: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    subject: str = ""
    ack: str = ""

    @property
    def wire(self) -> tuple[str, str]:
        """Method and path."""
        id = quote(self.subject, safe="/")
        if self.operation == "get":
            return "GET", f"/v1/reservations/{id}"
        if self.operation == "stock":
            return "GET", f"/v1/stock/{id}"
        if self.operation == "put":
            return "PUT", f"/v1/stock/{id}"
        if self.operation == "adjust":
            return "POST", f"/v1/stock/{id}/adjust"
        if self.operation == "reserve":
            return "POST", "/v1/reservations"
        return "POST", f"/v1/reservations/{id}/{self.operation}"

    @property
    def step(self) -> dict[str, Any]:
        """The same as an operation of a batch."""
        step: dict[str, Any] = {"op": self.operation, "body": self.body}
        if self.operation == "adjust":
            sku, location = self.subject.split("/")
            step["body"] = self.body | {"sku": sku, "location": location}
        elif self.subject:
            step["id"] = self.subject
        if self.key is not None:
            step["idempotency_key"] = self.key
        return step


class Client:
    """Sends requests of one shop and writes every call down, answered or not."""

    def __init__(self, name: str, session: aiohttp.ClientSession, shop: str, history: History) -> None:
        self.name = name
        self._session = session
        self._shop = shop
        self._history = history

    async def send(self, request: Request, address: str, *, attempt: int = 1, seconds: float) -> Call:
        """The call, written down."""
        method, path = request.wire
        headers = {} if request.key is None else {"Idempotency-Key": request.key}
        query = {"shop": self._shop} | ({"ack": request.ack} if request.ack else {})
        body = None if method == "GET" else request.body
        call = self._begun(request, address, attempt)
        answer = await self._answer(method, address + path, body, headers, query, seconds)
        return self._ended(call, None if answer is None else Answer(*answer))

    async def send_batch(
        self, requests: list[Request], address: str, *, number: int, attempt: int = 1, seconds: float
    ) -> list[Call]:
        """The calls of one batch, written down; where the batch itself is refused, each of them is."""
        begun = [replace(self._begun(request, address, attempt), batch=number) for request in requests]
        body = {"operations": [request.step for request in requests]}
        answer = await self._answer("POST", f"{address}/v1/batch", body, {}, {"shop": self._shop}, seconds)
        answers: list[Answer | None] = [None] * len(requests)
        if answer is not None and answer[0] == 200:
            results = answer[1]["results"]
            answers = [Answer(one["status"], one["body"], one.get("replayed", False)) for one in results]
        elif answer is not None:
            answers = [Answer(answer[0], answer[1])] * len(requests)
        return [self._ended(call, one) for call, one in zip(begun, answers, strict=True)]

    def _begun(self, request: Request, address: str, attempt: int) -> Call:
        return Call(
            client=self.name,
            operation=request.operation,
            start_s=time.monotonic(),
            end_s=0,
            start_ms=time.time_ns() // 1_000_000,
            end_ms=0,
            body=request.body,
            key=request.key,
            subject=request.subject,
            attempt=attempt,
            ack=request.ack,
            gateway=address,
        )

    def _ended(self, call: Call, answer: Answer | None) -> Call:
        ended = replace(call, end_s=time.monotonic(), end_ms=time.time_ns() // 1_000_000, answer=answer)
        self._history.record(ended)
        return ended

    async def _answer(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None,
        headers: dict[str, str],
        query: dict[str, str],
        seconds: float,
    ) -> tuple[int, dict[str, Any], bool] | None:
        """Status, body and whether it is a replay; None when it was lost on the way."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, params=query, timeout=timeout
            ) as got:
                text = await got.text()
                return got.status, json.loads(text), got.headers.get("Idempotent-Replayed") == "true"
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            return None
