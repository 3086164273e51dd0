"""OpenAI's package for Node against the real server: one program, whose findings are looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon, until

pytestmark = pytest.mark.model

PROGRAM = Path(__file__).parent / "node" / "openai_client.cjs"
MODULES = Path(sys.prefix) / "node" / "node_modules"


def see(daemon: Daemon) -> dict[str, Any]:
    """Run the program; return what it saw, by step."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is missing: apt-get install nodejs npm, then make test")
    if not (MODULES / "openai").is_dir():
        pytest.skip("its package is missing: make test installs it with npm")
    ended = subprocess.run(
        [node, str(PROGRAM), f"{daemon.url}/v1", MODEL],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_package_for_node_is_served(daemon: Daemon) -> None:
    seen = see(daemon)
    assert "Paris" in seen["whole"]["text"]
    assert seen["streamed"] == seen["whole"]
    assert seen["folded"] == {
        "text": seen["whole"]["text"],
        "reason": "stop",
        "kinds": ["content.delta", "content.done"],
    }
    assert [*seen["structured"]] == ["city"]
    assert (seen["toolLoop"]["reason"], seen["toolLoop"]["name"]) == ("tool_calls", "weather")
    assert [*seen["toolLoop"]["arguments"]] == ["city"]
    assert seen["toolLoop"]["text"]
    assert (seen["completion"]["finish_reason"], seen["completion"]["logprobs"]) == ("length", None)
    assert seen["models"]["ids"] == [seen["models"]["retrieved"]]
    assert seen["refusals"] == [
        {"kind": "bad", "status": 400, "code": "invalid_request", "param": "top_p"},
        {"kind": "missing", "status": 404, "code": "model_not_found", "param": None},
    ]
    assert seen["aborted"] is True
    until(lambda: "in_use" not in daemon.running()[0])
