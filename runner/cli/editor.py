"""The line editor of the chat on a terminal: prompt_toolkit, with a history file."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from runner.cli.repl import PROMPT, ReadLine

HISTORY_NAME = "history"
MAX_HISTORY_BYTES = 256 * 1024

_PLACEHOLDER = HTML("<ansibrightblack>Send a message (/? for help)</ansibrightblack>")


def open_editor(state_path: Path) -> ReadLine:
    """Return a reader of lines with editing, search and the history kept in ``state_path``."""
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(_history_file(state_path))),
        key_bindings=_bindings(),
        enable_open_in_editor=True,  # Ctrl-x Ctrl-e
    )

    def read(prompt: str) -> str:
        return session.prompt(prompt, placeholder=_PLACEHOLDER if prompt == PROMPT else "")

    return read


def _history_file(state_path: Path) -> Path:
    state_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_path / HISTORY_NAME
    path.touch(mode=0o600)  # what people ask is their own
    if path.stat().st_size > MAX_HISTORY_BYTES:
        kept = path.read_bytes()[-MAX_HISTORY_BYTES // 2 :]
        path.write_bytes(kept[kept.find(b"\n\n") + 1 :])  # entries are apart by an empty line
    return path


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-c")
    def _interrupt(event: KeyPressEvent) -> None:
        """Discard what is typed; on an empty line, tell the chat."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
