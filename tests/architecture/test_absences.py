"""What never happens, each absence of ARCHITECTURE.md with its test."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.architecture.source import ROOT, Module, modules

LOADED = "import sys; import {module}; print('\\n'.join(sorted(sys.modules)))"


def loaded_by(module: str) -> set[str]:
    """Modules in ``sys.modules`` after importing one in a fresh interpreter."""
    code = LOADED.format(module=module)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_daemon_never_loads_the_native_binding() -> None:
    assert not {name for name in loaded_by("runner.daemon") if name.startswith("runner.binding")}


def test_the_worker_never_opens_a_socket_of_its_own() -> None:
    users = [
        module.name
        for module in modules()
        if module.package in {"worker", "engine", "binding"}
        and {"socket", "asyncio"} & {name.split(".")[0] for name in module.imports()}
    ]
    assert users == []


def test_only_net_the_cli_client_and_registry_connections_open_sockets() -> None:
    users = {
        module.name if module.package == "registry" else module.package
        for module in modules()
        if "socket" in {name.split(".")[0] for name in module.imports()}
    }
    assert users <= {"net", "cli", "runner.registry.connection"}


def test_only_ingest_gives_a_blob_its_name() -> None:
    # Other modules of the store may replace an index or a link, never a file under blobs/.
    renamers = {
        module.name
        for module in modules()
        if module.package == "store"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and node.name == "commit"
    }
    assert renamers == {"runner.store.ingest"}


def test_only_the_binding_imports_ctypes_for_the_library() -> None:
    users = {
        module.name
        for module in modules()
        if "ctypes" in {name.split(".")[0] for name in module.imports()}
        and module.package != "binding"
    }
    # The worker asks the kernel for PDEATHSIG through libc; nothing else needs ctypes.
    assert {name for name in users if not name.startswith("runner.worker")} == set()


AT_IMPORT = {"basicConfig", "CDLL", "getenv", "dictConfig"}


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_importing_a_module_does_nothing(module: Module) -> None:
    later = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    top = [node for node in module.tree.body if not isinstance(node, later)]
    calls = {
        call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        for node in top
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
    }
    assert not calls & AT_IMPORT
    reads_environment = [
        node
        for statement in top
        if not (isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test))
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and node.attr == "environ"
    ]
    assert reads_environment == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_no_global_changes(module: Module) -> None:
    changed = [
        name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
        for name in node.names
    ]
    assert changed == []


@pytest.mark.parametrize(
    "module",
    [m for m in modules() if m.package not in {"cli", "__main__"}],
    ids=lambda module: module.name,
)
def test_only_the_cli_prints(module: Module) -> None:
    prints = [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert prints == []
