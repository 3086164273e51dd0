"""A real MCP server that searches nothing: the SDK's own, in a process of its own.

``python -m tests.support.search_server FORM`` prints its port and serves; FORM is ``events``,
``json`` or ``stateless`` (no sessions).
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ROOT

FORMS = ("events", "json", "stateless")
FOUND = "The Mole Museum of Ulm opened in 1987."


@contextmanager
def running_search_server(form: str = "events") -> Iterator[str]:
    """Serve while the context lasts, and give the URL; skip where the SDK is not installed."""
    pytest.importorskip("mcp", reason="an MCP server is missing: pip install 'mcp>=2'")
    command = [sys.executable, "-m", "tests.support.search_server", form]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.terminate()
        process.communicate()


def serve(form: str) -> None:
    """Serve until the process is ended."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("search", log_level="CRITICAL")

    @server.tool()
    def web_search(query: str) -> str:
        """Search the web."""
        return f"{query}: {FOUND}"

    app = server.streamable_http_app(
        json_response=form == "json", stateless_http=form == "stateless"
    )
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    serve(sys.argv[1])
