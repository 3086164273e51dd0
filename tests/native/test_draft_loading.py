"""A load that names a draft model: it is opened beside the model, or the load is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from native.builder.tiny_model import write_models
from runner.binding import Library, LoadWatch
from runner.errors import Kind, RunnerError
from runner.wire.messages import EngineWishes, Load
from runner.worker.loading import load

pytestmark = [pytest.mark.native, pytest.mark.model]


def message(model: Path, draft: Path) -> Load:
    wishes = EngineWishes(
        context_size=256, parallel=2, threads=1, batch_size=32, draft_model_path=str(draft)
    )
    return Load(version=1, model_path=str(model), library_path=None, wishes=wishes)


def test_a_draft_model_is_opened_beside_the_model(library: Library, model_path: Path) -> None:
    loaded = load(message(model_path, model_path), library, LoadWatch())
    try:
        assert loaded.ready.settings.draft_tokens > 0
    finally:
        loaded.context.close()
        loaded.model.close()


def test_a_draft_model_of_another_vocabulary_is_a_request_that_cannot_be(
    library: Library, model_path: Path, tmp_path: Path
) -> None:
    quantised, plain = tmp_path / "quantised.gguf", tmp_path / "plain.gguf"
    write_models(quantised, plain)
    with pytest.raises(RunnerError, match=r"plain\.gguf cannot guess for this model") as caught:
        load(message(model_path, plain), library, LoadWatch())
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert "vocabulary" in (caught.value.hint or "")
