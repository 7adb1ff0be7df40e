"""The do-it-yourself service: a row of PostgreSQL per sku, one statement per reservation, no Redis.

Run as a program: `python -m bench.references.diy PORT DATABASE_URL POOL_CONNECTIONS`.

It is what a good engineer writes in an afternoon: aiohttp and uvloop, a warm asyncpg pool, one prepared
statement that takes the units and writes the reservation in one commit, an ordinary durable PostgreSQL. It
leaves out what would cost it speed and what the gateway does: expiry and its index, several lines,
idempotency, an event log. So it is measured at its best.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import asyncpg
import orjson
from aiohttp import web

from bench.references.serving import healthz, serve

POOL = web.AppKey("pool", asyncpg.Pool)

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (
    sku text PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS reservation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku text NOT NULL,
    quantity bigint NOT NULL,
    state text NOT NULL DEFAULT 'held',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
"""

RESERVE = """
WITH taken AS (
    UPDATE stock SET available = available - $2 WHERE sku = $1 AND available >= $2 RETURNING sku
)
INSERT INTO reservation (sku, quantity, expires_at)
SELECT sku, $2, now() + interval '1 day' FROM taken
RETURNING id, created_at, expires_at
"""


async def reserve(request: web.Request) -> web.Response:
    """201 with the reservation, or 409 where too few units are left."""
    line = orjson.loads(await request.read())["lines"][0]
    sku, quantity = line["sku"], line["quantity"]
    row = await request.app[POOL].fetchrow(RESERVE, sku, quantity)
    if row is None:
        return web.Response(status=409, body=b'{"code":"out_of_stock"}', content_type="application/problem+json")
    reservation = {
        "id": f"rsv_{row['id']}",
        "state": "held",
        "lines": [{"sku": sku, "quantity": quantity}],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
    }
    return web.Response(status=201, body=orjson.dumps(reservation), content_type="application/json")


def application(database_url: str, connections: int) -> web.Application:
    """The service with its schema and its pool, made at start-up."""

    async def pool(app: web.Application) -> AsyncIterator[None]:
        # asyncpg prepares a statement at its first use on a connection and keeps it.
        async with asyncpg.create_pool(database_url, min_size=connections, max_size=connections) as made:
            await made.execute(SCHEMA)
            app[POOL] = made
            yield

    app = web.Application()
    app.add_routes([web.post("/v1/reservations", reserve), web.get("/healthz", healthz)])
    app.cleanup_ctx.append(pool)
    return app


def main(words: list[str]) -> None:
    """Served until SIGTERM."""
    port, database_url, connections = words
    serve(application(database_url, int(connections)), int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
