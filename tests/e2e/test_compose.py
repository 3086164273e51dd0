"""Projects of Docker Compose: both ways to ask for a model, and an app that uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, Daemon, environment, running_daemon
from tests.support.compose_driver import Compose, Failed, install_compose
from tests.support.container_network import WHY_NOT, container_network, is_possible

pytestmark = pytest.mark.model

APP = """
import json, os, urllib.request
question = {
    "model": os.environ["LLM_MODEL"],
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4,
}
request = urllib.request.Request(
    os.environ["LLM_URL"] + "chat/completions",
    json.dumps(question).encode(),
    {"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=60) as answer:
    print(json.load(answer)["usage"]["completion_tokens"])
"""


def compose(daemon: Daemon) -> Compose:
    """Compose as the user of a daemon would start it."""
    return install_compose(environment(daemon.home, MODEL_RUNNER_HOST=daemon.url))


def provider(**options: Any) -> dict[str, Any]:
    return {
        "services": {
            "llm": {"provider": {"type": "model", "options": {"model": MODEL, **options}}},
            "app": {"depends_on": ["llm"], "environment": {"MODE": "test"}},
        }
    }


def test_a_provider_pulls_configures_and_tells_the_app(own_daemon: Daemon) -> None:
    project = compose(own_daemon)
    definition = provider(**{"context-size": 768, "unknown-option": 1})
    env = project.up(definition)["app"]
    assert env == {
        "MODE": "test",
        "LLM_MODEL": MODEL,
        "LLM_URL": f"{own_daemon.url}/engines/v1/",
    }
    assert project.told[0] == "Initializing model runner..."
    assert f"Successfully configured backend for model {MODEL}" in project.told
    assert own_daemon.chat("hello").status_code == 200
    [running] = own_daemon.get("/engines/ps")
    assert running["settings"]["context_size"] == 768
    again = project.up(definition)["app"]
    assert again == env
    [still] = own_daemon.get("/engines/ps")
    assert still["pid"] == running["pid"]  # what is unchanged is not loaded again
    project.down(definition)
    assert len(own_daemon.get("/engines/ps")) == 1


def test_a_model_that_there_is_not_is_told_by_name(daemon: Daemon) -> None:
    with pytest.raises(Failed, match="no_such_model"):
        compose(daemon).up(provider(model="package:no_such_model"))


def test_models_at_the_top_bind_to_services(own_daemon: Daemon) -> None:
    definition = {
        "models": {"chat-model": {"model": MODEL, "context_size": 640}},
        "services": {
            "short": {"models": ["chat-model"]},
            "long": {"models": {"chat-model": {"endpoint_var": "AI_URL", "model_var": "AI"}}},
        },
    }
    env = compose(own_daemon).up(definition)
    url = f"{own_daemon.url}/v1/"
    assert env == {
        "short": {"CHAT_MODEL_MODEL": MODEL, "CHAT_MODEL_URL": url},
        "long": {"AI": MODEL, "AI_URL": url},
    }
    assert own_daemon.chat("hello").status_code == 200
    [running] = own_daemon.get("/engines/ps")
    assert running["settings"]["context_size"] == 640


@pytest.mark.skipif(not is_possible(), reason=WHY_NOT)
def test_the_app_reaches_the_model_from_a_network_of_its_own(_engine: None, tmp_path: Path) -> None:
    with (
        container_network() as network,
        running_daemon(tmp_path, "--containers", network.bridge) as server,
    ):
        env = compose(server).up(provider())["app"]
        port = server.url.rpartition(":")[2]
        assert env["LLM_URL"] == f"http://{network.address}:{port}/engines/v1/"
        done = subprocess.run(
            network.inside(sys.executable, "-c", APP),
            env=environment(tmp_path) | env,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout == "4\n"
        server.stop()


@pytest.mark.parametrize("name", ["streamlit", "compose-models"])
def test_the_projects_among_the_examples_come_up(own_daemon: Daemon, name: str) -> None:
    assert own_daemon.chat("hello").status_code == 200  # it is stored now
    tagged = own_daemon.post(f"/models/{MODEL}/tag?repo=ai/smollm2&tag=latest", {})
    assert tagged.status_code == 201, tagged.text
    definition = yaml.safe_load((ROOT / "examples" / name / "compose.yaml").read_text())
    env = compose(own_daemon).up(definition)["app"]
    assert env["LLM_MODEL"] == "ai/smollm2"
    question = {"model": env["LLM_MODEL"], "messages": [{"role": "user", "content": "Hi"}]}
    answer = requests.post(f"{env['LLM_URL']}chat/completions", json=question, timeout=120)
    assert answer.status_code == 200
