"""Programs that can work with the models here, and how each is told of this server. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

KEY = "sk-docker-model-runner"  # Docker Model Runner's: clients want some key, a server none


class Server(NamedTuple):
    """What a program must know of the server."""

    url: str  # for programs of this machine
    container_url: str  # for containers of this machine
    key: str
    model: str  # empty: the program asks, or its own settings say


class Options(NamedTuple):
    """How a container is run."""

    port: int | None = None  # of this machine, where it can be visited
    image: str = ""
    is_detached: bool = False


class Plan(NamedTuple):
    """What to run, with which variables; no command: the variables are all there is."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    note: str = ""


class App(NamedTuple):
    """One program."""

    name: str
    summary: str
    plan: Callable[[Server, Options], Plan]
    remedy: str = ""  # how its program is installed
    needs_model: bool = False
    is_container: bool = False


def _claude(server: Server, _: Options) -> Plan:
    return Plan(
        ("claude",),
        {
            "ANTHROPIC_BASE_URL": f"{server.url}/anthropic",
            "ANTHROPIC_AUTH_TOKEN": server.key,
            "ANTHROPIC_MODEL": server.model,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": server.model,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": server.model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": server.model,
        },
    )


def _codex(server: Server, _: Options) -> Plan:
    provider = {
        "name": "runner",
        "base_url": f"{server.url}/v1",
        "env_key": "OPENAI_API_KEY",
        "wire_api": "responses",
    }
    settings = {"model_provider": "runner"} | {
        f"model_providers.runner.{name}": value for name, value in provider.items()
    }
    # The values are TOML, whose plain strings are JSON's.
    flags = [word for name, value in settings.items() for word in ("-c", f'{name}="{value}"')]
    return Plan(("codex", *flags, "-m", server.model), {"OPENAI_API_KEY": server.key})


def _opencode(server: Server, _: Options) -> Plan:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "runner",
        "options": {"baseURL": f"{server.url}/v1", "apiKey": server.key},
        "models": {server.model: {}},
    }
    config = {"provider": {"runner": provider}, "model": f"runner/{server.model}"}
    return Plan(("opencode",), {"OPENCODE_CONFIG_CONTENT": json.dumps(config)})


def _openwebui(server: Server, options: Options) -> Plan:
    variables = {
        "OPENAI_API_BASE_URL": f"{server.container_url}/v1",
        "OPENAI_API_KEY": server.key,
        "ENABLE_OLLAMA_API": "false",
    }
    image = options.image or "ghcr.io/open-webui/open-webui:latest"
    port = options.port or 3000
    return _container("open-webui", image, (port, 8080), "/app/backend/data", variables, options)


def _anythingllm(server: Server, options: Options) -> Plan:
    variables = {
        "STORAGE_DIR": "/app/server/storage",
        "LLM_PROVIDER": "generic-openai",
        "GENERIC_OPEN_AI_BASE_PATH": f"{server.container_url}/v1",
        "GENERIC_OPEN_AI_API_KEY": server.key,
        "GENERIC_OPEN_AI_MODEL_PREF": server.model,
        "GENERIC_OPEN_AI_MODEL_TOKEN_LIMIT": "4096",
    }
    image = options.image or "mintplexlabs/anythingllm:latest"
    port = options.port or 3001
    folder = "/app/server/storage"
    return _container("anythingllm", image, (port, 3001), folder, variables, options)


def _container(
    name: str,
    image: str,
    ports: tuple[int, int],
    folder: str,
    variables: Mapping[str, str],
    options: Options,
) -> Plan:
    """Plan a container whose data outlives it; ``ports``: this machine's and its own."""
    command = ["docker", "run", "--rm", "--name", name, "-d" if options.is_detached else "-it"]
    command += ["-p", f"127.0.0.1:{ports[0]}:{ports[1]}", "-v", f"{name}:{folder}"]
    command += ["--add-host", "host.docker.internal:host-gateway"]
    # Only the names: the values, one of them a key, come from the environment.
    command += [word for variable in variables for word in ("-e", variable)]
    return Plan((*command, image), variables, f"Visit http://localhost:{ports[0]}")


def _openai(server: Server, _: Options) -> Plan:
    return Plan((), {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": server.key})


def _anthropic(server: Server, _: Options) -> Plan:
    base = f"{server.url}/anthropic"
    return Plan((), {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": server.key})


def _ollama(server: Server, _: Options) -> Plan:
    return Plan((), {"OLLAMA_HOST": server.url})


_DOCKER = "install Docker, or use another program"
APPS = (
    App(
        "claude",
        "Claude Code",
        _claude,
        remedy="npm install -g @anthropic-ai/claude-code",
        needs_model=True,
    ),
    App("codex", "Codex", _codex, remedy="npm install -g @openai/codex", needs_model=True),
    App("opencode", "OpenCode", _opencode, remedy="npm install -g opencode-ai", needs_model=True),
    App("openwebui", "Open WebUI, in a container", _openwebui, remedy=_DOCKER, is_container=True),
    App(
        "anythingllm",
        "AnythingLLM, in a container",
        _anythingllm,
        remedy=_DOCKER,
        needs_model=True,
        is_container=True,
    ),
    App("openai", "variables of OpenAI's SDKs: eval $(runner launch openai)", _openai),
    App("anthropic", "variables of Anthropic's SDKs", _anthropic),
    App("ollama", "the variable of Ollama's clients", _ollama),
)
