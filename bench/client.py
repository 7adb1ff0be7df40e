"""A client of the gateway for what happens around the rounds: making stock, waiting, checking."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

from bench.failure import ServerFailure
from bench.load import Request

ANSWER_SECONDS_MAX = 60.0
# The full sum over every open hold of a run, some hundred thousand of them.
CONSERVATION_SECONDS_MAX = 600.0
DRAIN_SECONDS_MAX = 180.0
RETRY_SECONDS = 0.1
BARRIER_SKU = "BARRIER"
LOCATION = "main"
JSON = "application/json"


class GatewayClient:
    """The calls of `api.md` that the rows need."""

    def __init__(self, port: int) -> None:
        """Connections are made per call: a call may come minutes after the last one."""
        self.port = port
        self._sequence = 0
        self._drains = 0

    def reserve(self, sku: str, ack: str) -> Request:
        """The request that holds one unit for a day: a shorter hold would fall due inside a longer run."""
        body = {"lines": [{"sku": sku, "quantity": 1}], "tier": "order"}
        return Request(self.port, "POST", f"/v1/reservations?ack={ack}", json.dumps(body, separators=(",", ":")))

    def read(self, sku: str) -> Request:
        """The request that reads one sku."""
        return Request(self.port, "GET", f"/v1/stock/{sku}")

    def stock(self, sku: str, on_hand: int) -> None:
        """The sku has one level with so many units on hand, in Redis and in the durable store."""
        self._put_durably(sku, on_hand)

    def level(self, sku: str) -> dict[str, Any]:
        """The sku's totals as the gateway answers them."""
        return self.sent(self.read(sku), 200)

    def drain(self) -> None:
        """Everything applied before this call is committed in the durable store.

        The log is committed in order: when one more change at its end is durable, so is all before it. It is
        a real change each time, since a write that changes nothing might be answered without waiting.

        Raises:
            ServerFailure: the backlog did not drain in `DRAIN_SECONDS_MAX`.
        """
        self._drains += 1
        self._put_durably(BARRIER_SKU, self._drains)

    def violations(self) -> list[str]:
        """What the gateway's own conservation check finds wrong."""
        check = Request(self.port, "GET", "/v1/admin/conservation")
        answer = json.loads(self.body(check, 200, CONSERVATION_SECONDS_MAX))
        return [f"conservation: {violation}" for violation in answer["violations"]]

    def sent(self, request: Request, status: int, kind: str = JSON) -> dict[str, Any]:
        """The answer to one request; see `body`."""
        answer: dict[str, Any] = json.loads(self.body(request, status, kind=kind))
        return answer

    def body(self, request: Request, status: int, seconds_max: float = ANSWER_SECONDS_MAX, kind: str = JSON) -> bytes:
        """The answer's bytes; `kind` is the media type of what is sent.

        Raises:
            ServerFailure: there was none in time, or it has another status.
        """
        told, body = self._exchange(request, seconds_max, kind)
        if told != status:
            what = f"{request.method} {request.path}"
            raise ServerFailure(f"{what} answered {told}, not {status}: {body[:500]!r}")
        return body

    def _put_durably(self, sku: str, on_hand: int) -> None:
        self._sequence += 1
        body = {"source": "bench", "sequence": self._sequence, "on_hand": on_hand}
        put = Request(self.port, "PUT", f"/v1/stock/{sku}/{LOCATION}?ack=durable", json.dumps(body))
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while True:
            status, answer = self._exchange(put)
            if status == 200:
                return
            # 503 while the backlog is long: not yet durable, or not even accepted. The same sequence may be
            # told again.
            if status != 503 or time.monotonic() > deadline:
                raise ServerFailure(f"PUT of {sku} answered {status}: {answer[:500]!r}")
            time.sleep(RETRY_SECONDS)

    def _exchange(
        self, request: Request, seconds_max: float = ANSWER_SECONDS_MAX, kind: str = JSON
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds_max)
        headers = {"Content-Type": kind} if request.body else {}
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise ServerFailure(f"{request.method} {request.path} got no answer: {exc!r}") from exc
        finally:
            connection.close()
