"""Who may import whom (ARCHITECTURE.md). ``errors`` is open to all."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Module, modules

MAY_IMPORT: dict[str, set[str]] = {
    "http": set(),
    "oci": set(),
    "gguf": set(),
    "engine": set(),
    "wire": set(),
    "errors": set(),
    "binding": set(),
    "logs": {"log_lines"},
    "places": set(),
    "durations": set(),
    "log_lines": set(),
    "cgroups": set(),
    "config": {"places", "durations"},
    "net": {"http"},
    # A file is hashed and its structure read through one descriptor, so the store reads GGUF heads.
    "store": {"oci", "gguf"},
    "registry": {"oci"},
    "worker": {"cgroups", "engine", "wire", "binding", "gguf"},
    "supervise": {"wire"},
    "transfer": {"oci", "gguf", "registry", "store"},
    "service": {"cgroups", "durations", "oci", "gguf", "transfer", "store", "supervise", "wire"},
    "api": {"durations", "log_lines", "http", "net", "oci", "wire", "service"},
    "cli": {"config", "durations", "places", "logs", "log_lines", "http"},
    "exposure": {"api", "config", "net"},
    "listening": {"config", "exposure", "net"},
    "__main__": {"cli"},
}
EVERYTHING = {"daemon"}
PURE = ("http", "oci", "gguf", "engine", "wire")
EFFECTS = {
    "asyncio",
    "ctypes",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "random",
    "requests",
    "secrets",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_package_imports_only_what_the_table_allows(module: Module) -> None:
    if module.package in EVERYTHING or module.package == "":
        return
    allowed = MAY_IMPORT[module.package] | {module.package, "errors", ""}
    if module.name == "runner.cli.commands.serve":
        allowed |= {"daemon"}
    ours = {name.split(".")[1] for name in module.imports() if name.startswith("runner.")}
    # ``from runner import __version__`` names an attribute, not a package.
    assert ours - {"__version__"} <= allowed


@pytest.mark.parametrize(
    "module", [m for m in modules() if m.package in PURE], ids=lambda module: module.name
)
def test_a_pure_package_imports_no_effect(module: Module) -> None:
    assert not {name.split(".")[0] for name in module.imports()} & EFFECTS


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_our_own_packages_are_imported_at_the_top(module: Module) -> None:
    # The CLI imports a command when it is asked for, and a command may import a terminal library
    # or the daemon when it needs it: that is what makes `list` start in a few milliseconds.
    if module.package == "cli":
        return
    inside = [
        name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in module.imports(node)
        if name.startswith("runner")
    ]
    assert inside == []


def test_no_import_cycle() -> None:
    names = {module.name for module in modules()}
    graph = {
        module.name: set(module.imports(module.running_tree)) & names - {module.name}
        for module in modules()
        if module.path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for other in graph.get(name, ()):
            visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())
