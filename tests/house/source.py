"""The package's own source, parsed once for all house tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway"


@dataclass(frozen=True)
class Module:
    """One file: its path from the root, and its tree."""

    path: Path
    tree: ast.Module
    text: str

    @property
    def name(self) -> str:
        """As in `gateway/hot/shard.py`."""
        return str(self.path.relative_to(ROOT))

    @property
    def floor(self) -> str:
        """The folder or file right below the package: `hot`, `metrics`; `""` for the package itself."""
        first = self.path.relative_to(PACKAGE).parts[0]
        return "" if first == "__init__.py" else first.removesuffix(".py")

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every module that is imported anywhere in the file, with the line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}:{node.lineno} imports by a relative name"
                module = node.module or ""
                for alias in node.names:
                    yield f"{module}.{alias.name}", node.lineno

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@cache
def modules(folder: str = "gateway") -> tuple[Module, ...]:
    """Every Python file below a folder of the root."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path, ast.parse(text, str(path)), text))
    return tuple(found)
