"""Who may: the bootstrap key, scopes and shops."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.web.auth import SCOPES, Principal
from gateway.web.routes import ROUTES
from tests.web.conftest import Gateway

KEYED = [route for route in ROUTES if route.scope]
OPEN = [route for route in ROUTES if not route.scope]


def path_of(path: str) -> str:
    """The route's path with something in its places."""
    return path.replace("{id}", "x").replace("{sku}", "a").replace("{location}", "main").replace("{file}", "page.css")


@pytest.fixture
async def locked(start: Any) -> Gateway:
    """A gateway with a bootstrap key."""
    gateway: Gateway = await start(bootstrap_key="s3cret-key")
    return gateway


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer s3cret-ke", "Bearer s3cret-keyy", "Basic s3cret-key", "s3cret-key",
     "Bearer é", "Bearer s3cret-key x"],
)  # fmt: skip
async def test_request_without_the_key_answers_401(locked: Gateway, header: str | None) -> None:
    """A missing, wrong or malformed key is told without detail."""
    headers = {} if header is None else {"Authorization": header}

    reply = await locked.ask("GET", "/v1/stock/a", headers=headers)

    assert (reply.status, reply.body["code"]) == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"s3cret" not in reply.raw


@pytest.mark.parametrize("header", ["Bearer s3cret-key", "bearer s3cret-key", "Bearer  s3cret-key"])
async def test_request_with_the_key_passes_and_names_its_actor(locked: Gateway, header: str) -> None:
    """The bootstrap key may everything, in every shop."""
    reply = await locked.ask("GET", "/v1/stock/a?shop=north", headers={"Authorization": header})

    assert reply.status == 404
    assert locked.books.seen[-1][1].actor == "key:bootstrap"
    assert locked.books.seen[-1][1].shop == "north"


@pytest.mark.parametrize("query", ["key=s3cret-key", "api_key=s3cret-key", "access_token=s3cret-key"])
async def test_key_in_the_query_answers_401(locked: Gateway, query: str) -> None:
    """Queries end in logs; no key is read from one."""
    assert (await locked.ask("GET", f"/v1/stock/a?{query}")).status == 401


@pytest.mark.parametrize("route", KEYED, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_with_a_scope_wants_a_key(locked: Gateway, route: Any) -> None:
    """No route of work is open by accident."""
    assert (await locked.ask(route.method, path_of(route.path))).status == 401


@pytest.mark.parametrize("route", OPEN, ids=lambda route: f"{route.method} {route.path}")
async def test_every_open_route_answers_without_a_key(locked: Gateway, route: Any) -> None:
    """Health, metrics and the documents are for everybody."""
    assert (await locked.ask(route.method, path_of(route.path))).status == 200


def test_open_routes_are_these_alone() -> None:
    """Everything under /v1 has a scope of the contract."""
    assert all(not route.path.startswith("/v1") for route in OPEN)
    assert {route.scope for route in KEYED} <= SCOPES


@pytest.mark.parametrize("scope", sorted(SCOPES))
@pytest.mark.parametrize("route", KEYED, ids=lambda route: f"{route.method} {route.path}")
async def test_scope_opens_its_own_routes_alone(gateway: Gateway, route: Any, scope: str) -> None:
    """Every cell of scope by route: let in, or 403."""
    gateway.site.authenticate = lambda _header: Principal("key:x", None, frozenset({scope}))

    reply = await gateway.ask(route.method, path_of(route.path))

    assert (reply.status == 403) == (route.scope != scope)


async def test_key_of_a_shop_works_in_that_shop_alone(gateway: Gateway) -> None:
    """Its shop is the default; another one is 403, in the query and in the body."""
    gateway.site.authenticate = lambda _header: Principal("key:x", "north", SCOPES)
    gateway.books.put("a", on_hand=1, shop="north")
    body = {"lines": [{"sku": "a", "quantity": 1}]}

    own = await gateway.post("/v1/reservations", body)
    query = await gateway.ask("GET", "/v1/stock/a?shop=main")
    inside = await gateway.post("/v1/reservations", body | {"shop": "main"})

    assert (own.status, own.body["shop"]) == (201, "north")
    assert [reply.body["code"] for reply in (query, inside)] == ["forbidden", "forbidden"]


async def test_without_any_key_everybody_is_anonymous(gateway: Gateway) -> None:
    """Without keys a header does not matter."""
    reply = await gateway.ask("GET", "/v1/stock/a", headers={"Authorization": "Bearer whatever"})

    assert reply.status == 200
    assert gateway.books.seen[-1][1].actor == "anonymous"
