"""A gateway in memory: just the calls that the command makes, by the contract, with faults to be switched on.

Its state outlives its server, so `restart` is what a kill and a new start are to a client whose gateway lost
nothing.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Faults:
    """What goes wrong. Shares are of the requests that change something."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    unavailable: float = 0.0
    durability_unknown: float = 0.0
    delay_seconds: float = 0.0
    # Lies, each of which a comparison must find.
    oversells_by: int = 0
    ships_one_less: bool = False
    forgets_a_return: bool = False
    keeps_holds: bool = False
    expires_early: bool = False
    reads_fulfilled_as: str = ""
    grants_one_less: bool = False
    loses_holds: bool = False
    loses_a_unit: bool = False
    hides_units: int = 0
    doubles_keys: bool = False
    doubles_quietly: bool = False
    gives_one_id: bool = False
    forgets_sales: bool = False
    forgets_keys: bool = False
    refuses_payment: bool = False
    keeps_what_is_released: bool = False
    # No lie: what this gateway allows.
    ttl_seconds_max: int = 86_400


@dataclass
class Hold:
    id: str
    state: str
    lines: list[tuple[str, int]]
    deadline: float
    reference: str | None
    is_lost: bool = False


@dataclass
class FakeGateway:
    """The state, and the application over it. `requests` lists (method, path) as they came."""

    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    on_hand: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    version: str = "0.0.0-fake"
    requests: list[tuple[str, str]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    violations: list[dict[str, object]] = field(default_factory=list)
    is_ready: bool = True
    conservation_status: int = 200
    port: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._runner: web.AppRunner | None = None
        self._moved = asyncio.Event()
        self._kept = socket.socket()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ------------------------------------------------------------------ the server

    async def start(self) -> None:
        application = web.Application(middlewares=[self._faulty])
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/openapi.json", self._openapi),
                web.get("/v1/admin/conservation", self._conservation),
                web.post("/v1/stock/import", self._import),
                web.post("/v1/stock/query", self._query),
                web.post("/v1/stock/{sku}/{location}/adjust", self._adjust),
                web.post("/v1/stock/{sku}/pause", self._pause),
                web.post("/v1/batch", self._batch),
                web.post("/v1/reservations", self._reserve),
                web.get("/v1/reservations", self._search),
                web.get("/v1/reservations/{id}", self._read),
                web.post("/v1/reservations/{id}/confirm", self._confirm),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        if not self.port:
            self._keep_port()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, reuse_port=True)
        await site.start()

    def _keep_port(self) -> None:
        """The port stays ours when nobody listens on it for a while: other tests on this machine want ports, too."""
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """The condition holds; it is asked after each request."""
        while not is_so():
            self._moved.clear()
            await self._moved.wait()

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def leave(self) -> None:
        """The port is anybody's again."""
        self._kept.close()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path))
        self._moved.set()
        if request.method != "POST" or not request.path.startswith("/v1/"):
            return await handler(request)
        chance = self.random.random()
        bounds = self.faults
        if chance < bounds.lost_before:
            return self._cut(request)
        chance -= bounds.lost_before
        if 0 <= chance < bounds.unavailable:
            return problem(503, "overloaded", headers={"Retry-After": "0"})
        chance -= bounds.unavailable
        if bounds.delay_seconds:
            await asyncio.sleep(bounds.delay_seconds)
        answer = await handler(request)
        self._moved.set()
        if 0 <= chance < bounds.lost_after:
            return self._cut(request)
        chance -= bounds.lost_after
        if 0 <= chance < bounds.durability_unknown and answer.status < 300:
            return problem(503, "durability_unknown", headers={"Retry-After": "0"})
        return answer

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        """The connection dies without an answer."""
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    # ------------------------------------------------------------------ the rules

    def held(self, sku: str) -> int:
        return self._units(sku, "held")

    def committed(self, sku: str) -> int:
        return self._units(sku, "confirmed")

    def _units(self, sku: str, state: str) -> int:
        return sum(q for hold in self.holds.values() if self.state(hold) == state for s, q in hold.lines if s == sku)

    def state(self, hold: Hold) -> str:
        is_due = asyncio.get_running_loop().time() >= hold.deadline and not self.faults.keeps_holds
        return "expired" if hold.state == "held" and is_due else hold.state

    def shape(self, hold: Hold) -> dict[str, object]:
        lines = [{"sku": sku, "location": "main", "quantity": quantity} for sku, quantity in hold.lines]
        return {"id": hold.id, "state": self.state(hold), "reference": hold.reference, "lines": lines}

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readyz(self, request: web.Request) -> web.Response:
        checks = {"redis": {"ok": self.is_ready, "detail": "7.2 [primary]"}}
        shape = {"status": "ready" if self.is_ready else "unready", "checks": checks}
        return web.json_response(shape, status=200 if self.is_ready else 503)

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response({"info": {"version": self.version}})

    async def _pause(self, request: web.Request) -> web.Response:
        self.paused.add(request.match_info["sku"])
        return web.json_response({"sku": request.match_info["sku"], "paused": True})

    async def _batch(self, request: web.Request) -> web.Response:
        """Releases alone."""
        results = []
        for operation in (await request.json())["operations"]:
            hold = self.holds[operation["id"]]
            if self.state(hold) in ("held", "confirmed") and not self.faults.keeps_what_is_released:
                hold.state = "released"
            results.append({"status": 200, "body": self.shape(hold)})
        return web.json_response({"results": results})

    async def _conservation(self, request: web.Request) -> web.Response:
        if self.conservation_status != 200:
            return web.json_response({"code": "durable_store_unavailable"}, status=self.conservation_status)
        return web.json_response({"checked": {"levels": len(self.on_hand)}, "violations": self.violations})

    async def _import(self, request: web.Request) -> web.Response:
        assert request.headers.get("Transfer-Encoding") == "chunked"
        raw = await request.read()
        self.uploads.append(raw)
        text = raw.decode()
        counts = {"applied": 0, "unchanged": 0, "stale": 0}
        rejected = []
        if request.content_type == "text/csv":
            rows: list[Any] = list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows = text.split("\n")[:-1]
        for number, raw_row in enumerate(rows, 1):
            try:
                row = json.loads(raw_row) if isinstance(raw_row, str) else raw_row
                sku, on_hand = row["sku"], int(row["on_hand"])
            except (ValueError, KeyError, TypeError) as exc:
                rejected.append({"row": number, "error": f"[bad] {exc}"})
                continue
            sequence = int(request.query["sequence"])
            known = self.sequences.get(sku, 0)
            if sequence > known:
                counts["applied"] += 1
                self.sequences[sku], self.on_hand[sku] = sequence, on_hand
            else:
                counts["unchanged" if sequence == known else "stale"] += 1
        return web.json_response({**counts, "rejected": rejected})

    async def _query(self, request: web.Request) -> web.Response:
        skus = (await request.json())["skus"]
        stock = []
        for sku in skus:
            if sku in self.on_hand:
                held, committed = self.held(sku), self.committed(sku)
                counters = {"on_hand": self.on_hand[sku], "held": held, "committed": committed}
                counters["available"] = self.on_hand[sku] - held - committed
                level = {"location": "main", "deductions": {}, "safety_stock": 0, **counters}
                stock.append({"sku": sku, "paused": False, **counters, "locations": [level]})
        return web.json_response({"stock": stock, "not_found": [sku for sku in skus if sku not in self.on_hand]})

    async def _adjust(self, request: web.Request) -> web.Response:
        sku, body, key = request.match_info["sku"], await request.json(), request.headers["Idempotency-Key"]
        if key in self.keys:
            return web.json_response(self.keys[key], headers={"Idempotent-Replayed": "true"})
        if sku not in self.on_hand:
            return problem(404, "sku_not_found")
        if self.on_hand[sku] + body["delta"] < 0:
            return problem(409, "insufficient_on_hand")
        if not (self.faults.forgets_a_return and body["reason"] == "return"):
            self.on_hand[sku] += body["delta"]
        self.keys[key] = {"sku": sku, "on_hand": self.on_hand[sku]}
        return web.json_response(self.keys[key])

    async def _reserve(self, request: web.Request) -> web.Response:
        body, key = await request.json(), request.headers["Idempotency-Key"]
        faults = self.faults
        if key in self.keys and faults.forgets_keys:
            return problem(409, "out_of_stock")
        if key in self.keys and not faults.doubles_keys:
            if faults.doubles_quietly:
                self._hold(self.keys[key].lines, "quiet", body)
            return web.json_response(self.shape(self.keys[key]), status=201, headers={"Idempotent-Replayed": "true"})
        if faults.gives_one_id and self.holds:
            return web.json_response(self.shape(next(iter(self.holds.values()))), status=201)
        wanted: dict[str, int] = {}
        for line in body["lines"]:
            wanted[line["sku"]] = wanted.get(line["sku"], 0) + line["quantity"]
        if body["ttl_seconds"] > faults.ttl_seconds_max:
            return problem(422, "invalid_request")
        if any(s not in self.on_hand for s in wanted):
            return problem(422, "unknown_sku")
        spare = faults.oversells_by - faults.hides_units
        if any(self.on_hand[s] - self.held(s) - self.committed(s) + spare < q for s, q in wanted.items()):
            return problem(409, "out_of_stock")
        lines = list(wanted.items())
        if self.faults.grants_one_less:
            lines[0] = (lines[0][0], lines[0][1] - 1)
        self.keys[key] = hold = self._hold(lines, "x", body)
        told = self.shape(hold)
        if self.faults.loses_holds:
            hold.state, hold.is_lost = "released", True
        return web.json_response(told, status=201)

    def _hold(self, lines: list[tuple[str, int]], suffix: str, body: dict[str, Any]) -> Hold:
        ttl = 0.0 if self.faults.expires_early else body["ttl_seconds"]
        deadline = asyncio.get_running_loop().time() + ttl
        hold = Hold(f"rsv_0-1-{len(self.holds) + 1}-{suffix}", "held", lines, deadline, body.get("reference"))
        self.holds[hold.id] = hold
        return hold

    async def _confirm(self, request: web.Request) -> web.Response:
        hold = self.holds[request.match_info["id"]]
        if hold.is_lost:
            return problem(410, "reservation_lost")
        if self.faults.refuses_payment:
            return problem(409, "reservation_released")
        is_shipped = (await request.json()).get("fulfil", False)
        match self.state(hold):
            case "expired":
                return problem(409, "reservation_expired")
            case "held" if not is_shipped:
                return self._sell(hold)
            case "held":
                hold.state = "fulfilled"
                for index, (sku, quantity) in enumerate(hold.lines):
                    self.on_hand[sku] -= quantity - int(index == 0 and self.faults.ships_one_less)
        return web.json_response(self.shape(hold))

    def _sell(self, hold: Hold) -> web.Response:
        if self.faults.loses_a_unit and not self.committed(hold.lines[0][0]):
            self.on_hand[hold.lines[0][0]] -= 1
        hold.state = "confirmed"
        told = self.shape(hold)
        if self.faults.forgets_sales:
            hold.state = "held"
        return web.json_response(told)

    async def _read(self, request: web.Request) -> web.Response:
        hold = self.holds.get(request.match_info["id"])
        if hold is None:
            return problem(404, "reservation_not_found")
        if hold.is_lost:
            return problem(410, "reservation_lost")
        shape = self.shape(hold)
        if self.faults.reads_fulfilled_as and shape["state"] == "fulfilled":
            shape["state"] = self.faults.reads_fulfilled_as
        return web.json_response(shape)

    async def _search(self, request: web.Request) -> web.Response:
        """A page holds two, so that cursors are really followed."""
        asked = request.query
        found = [
            self.shape(hold)
            for hold in self.holds.values()
            if asked.get("state", self.state(hold)) == self.state(hold)
            and asked.get("reference", hold.reference) == hold.reference
            and not hold.is_lost
        ]
        at = int(request.query.get("cursor", 0))
        following = str(at + 2) if at + 2 < len(found) else None
        return web.json_response({"reservations": found[at : at + 2], "next_cursor": following})


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(
        {"code": code, "status": status, "detail": f"it is {code}"}, status=status, headers=headers
    )


@asynccontextmanager
async def fake_gateway(seed: int = 1, **faults: Any) -> AsyncIterator[FakeGateway]:
    """A fake that serves as long as the block lasts."""
    gateway = FakeGateway(seed, Faults(**faults))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()
        gateway.leave()
