"""Named servers, in the file that Docker Model Runner's ``docker model context`` keeps.

Its folder is ``model`` below Docker's settings. The name ``default`` means no context: the server
is found as without any.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from runner.errors import Kind, RunnerError
from runner.places import clean

DEFAULT = "default"
FILE_NAME = "contexts.json"
LOCK_NAME = "contexts.lock"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class Contexts(NamedTuple):
    """The file's content; the members of each context stay as they were written."""

    current: str = DEFAULT
    contexts: Mapping[str, dict[str, Any]] = {}

    @property
    def host(self) -> str:
        """The address of the context in use; empty for ``default``, and for one that is gone."""
        return str(self.contexts.get(self.current, {}).get("host", ""))

    def find(self, name: str) -> dict[str, Any]:
        """Return the members of one; RunnerError(NOT_FOUND)."""
        if name not in self.contexts:
            raise RunnerError(
                Kind.NOT_FOUND, f'context "{name}" not found', hint="see: runner context ls"
            )
        return self.contexts[name]

    def with_new(self, name: str, members: dict[str, Any]) -> Contexts:
        """Add one; RunnerError(USAGE) for a name that is taken or none."""
        check_name(name)
        if name in self.contexts:
            raise RunnerError(Kind.USAGE, f'context "{name}" already exists')
        return self._replace(contexts={**self.contexts, name: members})

    def without(self, name: str) -> Contexts:
        """Remove one; RunnerError for one that is unknown or in use."""
        self.find(name)
        if name == self.current:
            raise RunnerError(
                Kind.CONFLICT,
                f'context "{name}" is in use',
                hint="first: runner context use default",
            )
        kept = {other: self.contexts[other] for other in self.contexts if other != name}
        return self._replace(contexts=kept)

    def using(self, name: str) -> Contexts:
        """Make one the current; RunnerError(NOT_FOUND)."""
        if name != DEFAULT:
            self.find(name)
        return self._replace(current=name)


def check_name(name: str) -> None:
    """Raise RunnerError(USAGE) for what cannot be a context's name."""
    if name == DEFAULT:
        raise RunnerError(Kind.USAGE, f'context name "{DEFAULT}" is reserved')
    if not _NAME.fullmatch(name):
        raise RunnerError(
            Kind.USAGE,
            f'invalid context name "{name}"',
            hint="letters, digits, _, . and -, the first a letter or digit",
        )


def parse_contexts(text: str) -> Contexts:
    """Parse the file; ValueError when it is not one."""
    match json.loads(text):
        case {"contexts": dict(contexts)} as document if all(
            isinstance(members, dict) for members in contexts.values()
        ):
            return Contexts(str(document.get("current") or DEFAULT), contexts)
        case {"version": int(), **rest} if not rest.get("contexts"):
            return Contexts()
    raise ValueError("not a file of contexts")


def render_contexts(contexts: Contexts) -> str:
    """Render the file as Docker Model Runner writes it."""
    document = {"version": 1, "current": contexts.current, "contexts": dict(contexts.contexts)}
    return json.dumps(document, indent=2) + "\n"


def contexts_folder(env: Mapping[str, str]) -> str | None:
    """Return the file's folder; None where nothing says where Docker's settings are."""
    home = clean(env.get("HOME"))
    settings = clean(env.get("DOCKER_CONFIG")) or (f"{home}/.docker" if home else "")
    return f"{settings}/model" if settings else None


def read_contexts(env: Mapping[str, str]) -> Contexts:
    """Read the file; none is none. RunnerError(USAGE) for one that cannot be read as such."""
    folder = contexts_folder(env)
    if folder is None:
        return Contexts()
    path = f"{folder}/{FILE_NAME}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (see runner.places)
            return parse_contexts(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return Contexts()
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError:
        problem = "it is no file of contexts"
    raise RunnerError(
        Kind.USAGE, f"{path}: {problem}", hint="correct or remove it, or name a server with --host"
    )


def write_contexts(env: Mapping[str, str], contexts: Contexts) -> None:
    """Replace the file, at once and whole; OSError."""
    folder = contexts_folder(env)
    if folder is None:
        raise RunnerError(Kind.USAGE, "neither HOME nor DOCKER_CONFIG says where contexts are kept")
    draft = f"{folder}/.{FILE_NAME}.{os.getpid()}"
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    with open(draft, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(render_contexts(contexts))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, f"{folder}/{FILE_NAME}")  # noqa: PTH105
