"""Docker Compose's side of models: what it runs, reads and gives to the services of a project.

Written from the behaviour of docker/compose (``pkg/compose/plugins.go`` and ``model.go``), which
needs a Docker Engine; this does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


class Failed(Exception):
    """What Compose would end with."""


def install_compose(env: Mapping[str, str], project: str = "shop") -> Compose:
    """Make our plugin the one of this environment's Docker, and return its Compose."""
    done = subprocess.run(
        [sys.executable, "-m", "runner", "install-plugin", "--force"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return Compose(Path(done.stdout.strip()), project, env)


@dataclass
class Compose:
    """One project, the plugin that Compose found, and the environment that it was started in."""

    plugin: Path
    project: str
    env: Mapping[str, str]
    told: list[str] = field(default_factory=list)  # what a user sees of it

    def up(self, definition: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Bring up what gives models; return the environment that each service begins with."""
        services: dict[str, Any] = definition["services"]
        given = {
            name: self._provide("up", name, service["provider"])
            for name, service in services.items()
            if "provider" in service
        }
        models = self._models(definition.get("models", {}))
        environments = {}
        for name, service in services.items():
            if "provider" not in service:
                env = dict(service.get("environment", {}))
                for other in service.get("depends_on", ()):
                    env |= given.get(other, {})
                environments[name] = env | self._bind(service.get("models", ()), models)
        return environments

    def down(self, definition: Mapping[str, Any]) -> None:
        """Take the providers down."""
        for name, service in definition["services"].items():
            if "provider" in service:
                self._provide("down", name, service["provider"])

    # ---- provider: {type: model} ------------------------------------------------------------

    def _provide(self, action: str, name: str, provider: Mapping[str, Any]) -> dict[str, str]:
        assert provider["type"] == "model"
        metadata = json.loads(self._run("compose", "metadata"))
        parameters = (metadata.get(action) or {}).get("parameters") or []
        known = {parameter["name"] for parameter in parameters}
        options = provider.get("options", {})
        for parameter in parameters:
            if parameter["required"] and parameter["name"] not in options:
                raise Failed(f"required parameter {parameter['name']!r} is missing")
        flags = [
            f"--{option}={value}"
            for option, values in options.items()
            if option in known
            for value in (values if isinstance(values, list) else [values])
        ]
        line = [str(self.plugin), "compose", f"--project-name={self.project}", action, *flags, name]
        done = subprocess.run(
            line, env=self.env, capture_output=True, text=True, timeout=120, check=False
        )
        variables = {}
        for text in done.stdout.splitlines():
            try:
                message = json.loads(text)
            except ValueError:
                raise Failed(f"invalid response from plugin: {text}") from None
            match message:
                case {"type": "info", "message": str(words)}:
                    self.told.append(words)
                case {"type": "error", "message": str(words)}:
                    raise Failed(words)
                case {"type": "setenv", "message": str(words)}:
                    variable, _, value = words.partition("=")
                    variables[f"{name.upper()}_{variable}"] = value
                case _:
                    raise Failed(f"invalid response from plugin: {text}")
        if done.returncode != 0:
            raise Failed(f"failed to create service provider: {done.stderr}")
        return variables

    # ---- models: at the top -----------------------------------------------------------------

    def _models(self, models: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Have each model there, and configured; return its name and endpoint."""
        if not models:
            return {}
        metadata = json.loads(self._run("docker-cli-plugin-metadata"))
        tags = {tag for model in json.loads(self._run("ls", "--json")) for tag in model["tags"]}
        endpoint = json.loads(self._run("status", "--json"))["endpoint"]
        numbers = tuple(map(int, metadata["Version"].removeprefix("v").split(".")))
        for definition in models.values():
            name = definition["model"]
            if name not in tags:
                self.told += self._run("pull", name).splitlines()
            size = definition.get("context_size")
            flags = definition.get("runtime_flags") if numbers >= (1, 0, 6) else None
            self._run(
                "configure",
                *(["--context-size", str(size)] if size else []),
                name,
                *(["--", *flags] if flags else []),
            )
        return {name: (each["model"], endpoint) for name, each in models.items()}

    @staticmethod
    def _bind(wanted: Any, models: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        env = {}
        for name in wanted:
            names = wanted[name] if isinstance(wanted, dict) and wanted[name] else {}
            prefix = name.upper().replace("-", "_")
            model, endpoint = models[name]
            env[names.get("model_var", f"{prefix}_MODEL")] = model
            env[names.get("endpoint_var", f"{prefix}_URL")] = endpoint
        return env

    def _run(self, *words: str) -> str:
        """Run the plugin as a program of its own; Compose reads both of its streams as one."""
        done = subprocess.run(
            [str(self.plugin), *words],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(done.stdout)
        return done.stdout
