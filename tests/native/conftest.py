"""The built library and the embedded model, loaded once; small contexts on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Context, Library, Model, Stepper, Template
from tests.support.embedded import find_model, open_library

from .driver import Engine


@pytest.fixture(scope="session")
def library() -> Library:
    return open_library()


@pytest.fixture(scope="session")
def model_path() -> Path:
    return find_model()


@pytest.fixture(scope="session")
def model(library: Library, model_path: Path) -> Iterator[Model]:
    with Model(library, model_path) as model:
        yield model


@pytest.fixture(scope="session")
def template(model: Model) -> Iterator[Template]:
    with Template(model) as template:
        yield template


@pytest.fixture
def make_engine(model: Model) -> Iterator[Callable[..., Engine]]:
    """Make an engine; what is not said is a unified context of 1024 cells and 4 sequences."""
    contexts: list[Context] = []

    def make(**settings: Any) -> Engine:
        defaults = {"n_ctx": 1024, "n_batch": 512, "n_seq_max": 4, "n_threads": 1}
        contexts.append(Context(model, defaults | settings))
        return Engine(model, contexts[-1], Stepper(contexts[-1]))

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared(model: Model) -> Iterator[Engine]:
    """One engine for the tests of a module that only need its answers."""
    with Context(model, {"n_ctx": 1024, "n_batch": 512, "n_seq_max": 8, "n_threads": 1}) as context:
        yield Engine(model, context, Stepper(context))
