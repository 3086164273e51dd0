from __future__ import annotations

import io

import pytest

from runner.cli import progress
from tests.support.console import Terminal


class Watched(Terminal):
    """A terminal that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = progress.threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_off_a_terminal_nothing_is_said() -> None:
    err = io.StringIO()
    with progress.waiting(err, "Loading"):
        pass
    assert err.getvalue() == ""


def test_a_short_wait_needs_no_words() -> None:
    err = Terminal()
    with progress.waiting(err, "Loading"):
        pass
    assert err.getvalue() == ""


def test_a_longer_wait_is_told_and_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_S", 0)
    err = Watched()
    with progress.waiting(err, "Loading"):
        assert err.written.wait(5)
    assert err.getvalue().startswith("\r\x1b[KLoading … 0 s")
    assert err.getvalue().endswith("\r\x1b[K")
