"""Ctrl-C while our code is being loaded."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.cli.loading import load


@pytest.fixture(autouse=True)
def sigint() -> Iterator[None]:
    """SIGINT as Python starts with it, and afterwards as it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that remembers what a Ctrl-C would have met."""
    (tmp_path / "witness.py").write_text("import signal\nseen = signal.getsignal(signal.SIGINT)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "witness"
    sys.modules.pop("witness", None)


def test_ctrl_c_meets_the_system_until_the_module_is_there(witness: str) -> None:
    assert load(witness).seen is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_module_that_cannot_be_loaded_changes_nothing() -> None:
    with pytest.raises(ImportError):
        load("runner.cli.no_such_module")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "taken"])
def test_who_ignores_or_takes_the_signal_goes_on(witness: str, handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    assert load(witness).seen is handler
    assert signal.getsignal(signal.SIGINT) is handler
