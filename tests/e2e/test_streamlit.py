"""The Streamlit example as people start it: its container's command, in a network of its own.

Only Docker is missing: a namespace is the container, and a port of this machine leads there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, Daemon, environment, running_daemon, until
from tests.support.browser import Browser, running_browser
from tests.support.compose_driver import install_compose
from tests.support.container_network import WHY_NOT, Network, container_network, is_possible

pytest.importorskip("streamlit", reason="not installed: make test installs streamlit")
pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.skipif(not is_possible(), reason=WHY_NOT),
]

EXAMPLE = ROOT / "examples" / "streamlit"
PORT = 8501  # in the namespace


class Recipe(NamedTuple):
    """What a Dockerfile says of a container."""

    requirements: list[Requirement]
    files: list[str]
    env: dict[str, str]
    command: list[str]


def read_recipe(path: Path) -> Recipe:
    """Read the instructions that the example's file has; each is one line."""
    lines = path.read_text("utf-8").splitlines()
    words = dict(line.split(" ", 1) for line in lines)
    assert words.keys() == {"FROM", "WORKDIR", "RUN", "COPY", "USER", "ENV", "EXPOSE", "CMD"}
    assert (words["USER"], words["EXPOSE"]) == ("nobody", "8501")
    pip, install, no_cache, *packages = words["RUN"].split()
    assert (pip, install, no_cache) == ("pip", "install", "--no-cache-dir")
    *files, target = words["COPY"].split()
    assert target == "."
    return Recipe(
        [Requirement(json.loads(package)) for package in packages],
        files,
        dict(pair.split("=", 1) for pair in words["ENV"].split()),
        json.loads(words["CMD"]),
    )


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with container_network() as made:
        yield made


@pytest.fixture(scope="module")
def server(
    _engine: None, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon that containers reach, with the example's model under its name."""
    with running_daemon(tmp_path_factory.mktemp("home"), "--containers", network.bridge) as started:
        assert started.chat("hello").status_code == 200
        tagged = started.post(f"/models/{MODEL}/tag?repo=ai/smollm2&tag=latest", {})
        assert tagged.status_code == 201, tagged.text
        yield started
        started.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load((EXAMPLE / "compose.yaml").read_text("utf-8"))
    return definition


def read_env_file(service: dict[str, Any]) -> dict[str, str]:
    lines = (EXAMPLE / service["env_file"]).read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def running_app(
    network: Network, browser: Browser, folder: Path, env: dict[str, str]
) -> Iterator[None]:
    """Start the container's command with the container's files, and open its page."""
    recipe = read_recipe(EXAMPLE / "Dockerfile")
    assert all(each.specifier.contains(version(each.name)) for each in recipe.requirements)
    for name in recipe.files:
        shutil.copy(EXAMPLE / name, folder)
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            network.inside(*recipe.command),
            cwd=folder,
            env=programs | recipe.env | {"HOME": str(folder)} | env,
            stdout=output,
            stderr=output,
        )
    try:
        with network.published(PORT) as port:
            url = f"http://127.0.0.1:{port}"
            until(lambda: is_healthy(url), timeout_s=60)
            browser.open(url)
            browser.find('[data-testid="stChatInputTextArea"]')
            yield
    finally:
        process.terminate()
        process.wait(30)


def is_healthy(url: str) -> bool:
    """Whether Streamlit serves; at first nobody listens."""
    try:
        return requests.get(f"{url}/_stcore/health", timeout=10).ok
    except requests.ConnectionError:
        return False


def chat(browser: Browser, question: str) -> str:
    """Ask, and return the answer when some of it is there."""
    browser.type('[data-testid="stChatInputTextArea"]', question)
    browser.press("Enter")
    browser.find('[data-testid="stChatMessage"]', text=question)
    answer: str = browser.until(
        """const said = document.querySelectorAll('[data-testid="stChatMessageContent"]');
        return said.length > 1 && said[1].textContent.trim();"""
    )
    return answer


def test_what_compose_says_brings_the_app_to_the_model(
    network: Network, server: Daemon, browser: Browser, project: dict[str, Any], tmp_path: Path
) -> None:
    env = environment(server.home, MODEL_RUNNER_HOST=server.url)
    given = install_compose(env).up(project)["app"]
    port = server.url.rpartition(":")[2]
    url = f"http://{network.address}:{port}/engines/v1/"
    assert given == {"LLM_MODEL": "ai/smollm2", "LLM_URL": url}
    with running_app(network, browser, tmp_path, read_env_file(project["services"]["app"]) | given):
        browser.find("p", text=f"ai/smollm2 at {url}")
        assert chat(browser, "Say hello.")
    assert browser.hosts() == {"127.0.0.1"}


def test_without_a_provider_the_app_finds_the_model_by_the_hosts_name(
    network: Network, server: Daemon, browser: Browser, project: dict[str, Any], tmp_path: Path
) -> None:
    app = project["services"]["app"]
    assert app["extra_hosts"] == ["host.docker.internal:host-gateway"]
    env = read_env_file(app)
    url = "http://host.docker.internal:12434/engines/llama.cpp/v1"
    assert env == {"BASE_URL": url, "MODEL": "ai/smollm2", "API_KEY": "not-needed"}
    here = url.replace("12434", server.url.rpartition(":")[2])
    with running_app(network, browser, tmp_path, env | {"BASE_URL": here}):
        browser.find("p", text=f"ai/smollm2 at {here}")
        assert chat(browser, "Say hello.")
