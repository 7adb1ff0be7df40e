"""How the code reads: what a test can hold of it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.house.source import ROOT, Module, modules

LINES_MAX = 300
FUNCTION_LINES_MAX = 60
# File: why it is longer.
LONGER: dict[str, str] = {}
BANNED_NAMES = {"utils", "helpers", "manager", "data", "info"}


def code_files() -> list[Path]:
    """Every file of code that people read: Python and Lua."""
    return [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "lua").rglob("*.lua")]


def test_style_no_file_is_longer_than_300_lines_without_a_reason() -> None:
    """A longer one is split, or its reason stands above."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in code_files()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }

    assert set(long) == set(LONGER), long


def test_style_no_function_is_longer_than_60_lines() -> None:
    """Fifty are a smell; beyond sixty nobody sees the whole."""
    long = [
        f"{module.name}:{node.lineno} {node.name}"
        for module in modules()
        for node in module.functions()
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert long == []


# asyncio calls these by name; what they do is told by asyncio's own documents.
CALLED_BY_ASYNCIO = {"connection_made", "data_received", "connection_lost", "eof_received"}


@cache
def promised() -> frozenset[str]:
    """The methods that some protocol of the package documents: who implements one need not say it again."""
    return frozenset(
        method.name
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(method)
    )


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_style_everything_public_has_a_docstring(module: Module) -> None:
    """Module, class, function and method: the first line says what is true afterwards."""
    missing = [] if ast.get_docstring(module.tree) else [module.name]
    waiting: list[ast.AST] = [module.tree]
    while waiting:
        owner = waiting.pop()
        for node in ast.iter_child_nodes(owner):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name[0] == "_":
                continue
            is_told = isinstance(owner, ast.ClassDef) and node.name in promised() | CALLED_BY_ASYNCIO
            if not ast.get_docstring(node) and not is_told:
                missing.append(f"{module.name}:{node.lineno} {node.name}")
            if isinstance(node, ast.ClassDef):
                waiting.append(node)

    assert missing == []


def test_style_no_name_says_nothing() -> None:
    """No file, folder, class or function is named utils, helpers, manager, data or info."""
    wrong = []
    paths = [*code_files(), *(ROOT / "gateway").iterdir()]
    wrong += [str(path) for path in paths if path.stem.lower() in BANNED_NAMES]
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = node.name.strip("_").lower()
                if name in BANNED_NAMES or name.endswith(("manager", "_utils", "_helper", "_helpers")):
                    wrong.append(f"{module.name}:{node.lineno} {node.name}")

    assert wrong == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_style_annotations_are_of_the_future(module: Module) -> None:
    """Every file that has code begins so, and annotations cost nothing."""
    has_code = any(not isinstance(node, ast.Expr) for node in module.tree.body)

    assert not has_code or "from __future__ import annotations" in module.text


def test_style_every_test_says_what_it_proves() -> None:
    """Its docstring states the fact."""
    silent = [
        f"{module.name}:{node.lineno} {node.name}"
        for module in modules("tests")
        for node in module.functions()
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []


def test_style_no_test_is_switched_off() -> None:
    """No skip, no expected failure: what does not hold is red."""
    marks = {"skip", "skipif", "xfail"}
    off = [
        f"{module.name}:{node.lineno} {ast.unparse(node)}"
        for module in modules("tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in marks and "pytest" in ast.unparse(node)
    ]

    assert off == []
