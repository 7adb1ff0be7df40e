"""Paths to routes."""

from __future__ import annotations

import pytest

from gateway.domain.errors import MethodNotAllowed, NotFound
from gateway.web.router import Router
from gateway.web.routes import ROUTES

ROUTER = Router(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_found_with_its_values_as_written(route) -> None:  # type: ignore[no-untyped-def]
    """Values come back still encoded, in the order of the path; the query apart."""
    path = route.path
    for name in route.path_names:
        path = path.replace(f"{{{name}}}", f"%2F{name}")

    found, values, query = ROUTER.find(route.method, f"{path}?a=b?c")

    assert found is route
    assert values == tuple(f"%2F{name}" for name in route.path_names)
    assert query == "a=b?c"


def test_method_not_allowed_names_the_methods_of_every_route_on_the_path() -> None:
    """`/v1/stock/import` is a literal path and also one of a sku."""
    with pytest.raises(MethodNotAllowed) as refusal:
        ROUTER.find("PATCH", "/v1/stock/import")

    assert refusal.value.extras["allow"] == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize(
    "target", ["/" + "://" * 9_000, "a" + "://" * 9_000, "*", "", "?", "x:443", "/v1/stock/%2e%2e/../a/b/c"]
)
def test_hostile_target_is_not_found(target: str) -> None:
    """Whatever a target looks like, there is an answer."""
    with pytest.raises(NotFound):
        ROUTER.find("GET", target)
