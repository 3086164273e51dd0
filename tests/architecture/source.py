"""Reads the package as text: modules, their imports (inside functions too), their sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "runner"


@dataclass(frozen=True)
class Module:
    path: Path

    @property
    def name(self) -> str:
        """Dotted name, as ``runner.http.grammar``."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """First name below ``runner``: ``http``, or a top module's own name (``daemon``)."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def running_tree(self) -> ast.Module:
        """The module without what only a type checker reads."""
        body = [node for node in self.tree.body if "TYPE_CHECKING" not in _test_of(node)]
        return ast.Module(body, [])

    def imports(self, tree: ast.AST | None = None) -> Iterator[str]:
        """Every module named by an import statement, absolute."""
        base = self.name.split(".")
        if self.path.name != "__init__.py":
            base = base[:-1]
        for node in ast.walk(tree or self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                prefix = base[: len(base) - node.level + 1] if node.level else []
                stem = ".".join([*prefix, *([node.module] if node.module else [])])
                yield stem
                if stem == "runner":
                    yield from (f"runner.{alias.name}" for alias in node.names)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(Module(path) for path in sorted(PACKAGE.rglob("*.py")))


def _test_of(node: ast.stmt) -> str:
    return ast.dump(node.test) if isinstance(node, ast.If) else ""
