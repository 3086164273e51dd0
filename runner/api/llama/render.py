"""Answers of llama-server's own routes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.openai.render import render_logprobs, render_timings
from runner.errors import Kind, RunnerError
from runner.service import RunningModel
from runner.wire.messages import Answered, Begun, Ended, Piece, Ready, Sampling, TokenLogprob

STOP_TYPES = {"eos": "eos", "stop": "word", "length": "limit", "context": "limit"}


def tokens(answered: Answered, *, with_pieces: bool) -> dict[str, Any]:
    """Render the answer of ``/tokenize``; a piece that is no text is an array of bytes."""
    if not with_pieces:
        return {"tokens": answered.tokens}
    pairs = zip(answered.tokens, answered.pieces, strict=True)
    return {"tokens": [{"id": token, "piece": _piece(piece)} for token, piece in pairs]}


def _piece(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


# ---- text ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """How texts and gaps are told: for :mod:`runner.api.answering`."""

    model: str
    sampling: Sampling

    def choice(self) -> Text:
        """Return an empty text, for an answer that is told whole."""
        return Text(self.model, self.sampling)

    def whole(self, made: Sequence[tuple[Text, Ended]]) -> bytes:
        """Render the whole answer: an object, or an array where there are several texts."""
        shown = [text.render(index, ended) for index, (text, ended) in enumerate(made)]
        return msgspec.json.encode(shown if len(shown) > 1 else shown[0])

    def chunks(self, index: int) -> TextChunks:
        """Return what renders one text of a stream."""
        return TextChunks(index, self.choice())

    def tail(self, _: Sequence[Ended]) -> bytes:
        """Render nothing: each text's last event tells all of it."""
        return b""


class Text:
    """A text being put together."""

    def __init__(self, model: str, sampling: Sampling) -> None:
        self._model = model
        self._sampling = sampling
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def add(self, event: Begun | Piece) -> None:
        """Take the next event."""
        if isinstance(event, Piece):
            self._texts.append(event.text)
            self._logprobs += event.logprobs

    def render(self, index: int, ended: Ended) -> dict[str, Any]:
        """Return the whole of it."""
        asked = msgspec.structs.asdict(self._sampling).items()
        shown = {
            "index": index,
            "content": "".join(self._texts),
            "tokens": [],
            "id_slot": -1,
            "stop": True,
            "model": self._model,
            "tokens_predicted": ended.completion_tokens,
            "tokens_evaluated": ended.prompt_tokens,
            "generation_settings": {name: value for name, value in asked if value is not None},
            "truncated": ended.reason == "context",
            "stop_type": STOP_TYPES[ended.reason],
            "stopping_word": ended.stopping_word or "",
            "tokens_cached": ended.cached_tokens,
            "timings": render_timings(ended.timings),
        }
        return shown | _probabilities(self._logprobs)


class TextChunks:
    """Renders one text of a stream."""

    def __init__(self, index: int, empty: Text) -> None:
        self._index = index
        self._empty = empty
        self._predicted = 0

    def first(self, _: Begun) -> bytes:
        """Render nothing: there is no opening."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Render new text."""
        self._predicted += piece.tokens
        if not piece.text and not piece.logprobs:
            return b""
        members = {
            "index": self._index,
            "content": piece.text,
            "tokens": [],
            "stop": False,
            "id_slot": -1,
            "tokens_predicted": self._predicted,
        }
        return _event(members | _probabilities(piece.logprobs))

    def last(self, ended: Ended) -> bytes:
        """Render the end, which has no text."""
        return _event(self._empty.render(self._index, ended))


def _probabilities(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {"completion_probabilities": render_logprobs(logprobs)} if logprobs else {}


def _event(members: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(members)


# ---- views -----------------------------------------------------------------------------------


def props(model: RunningModel, *, version: str) -> dict[str, Any]:
    """Render ``/props`` of a loaded model. Its path is nobody's business: the name stands there."""
    ready = loaded(model)
    name = model.tags[0] if model.tags else model.name
    return {
        "default_generation_settings": {"params": {}, "n_ctx": ready.settings.context_size},
        "total_slots": ready.settings.parallel,
        "model_alias": name,
        "model_path": name,
        "modalities": {"vision": ready.model.vision, "audio": ready.model.audio},
        "endpoint_slots": True,
        "endpoint_props": False,  # it cannot be changed
        "endpoint_metrics": False,
        "chat_template": ready.model.chat_template,
        "chat_template_caps": ready.model.chat_template_caps,
        "bos_token": ready.model.bos_token,
        "eos_token": ready.model.eos_token,
        "build_info": version,
        "is_sleeping": False,
    }


def slots(model: RunningModel) -> list[dict[str, Any]]:
    """Render ``/slots`` of a loaded model: as many as answer together, and how many do.

    Whose they are, and what was asked, is not told.
    """
    settings = loaded(model).settings
    busy = model.beat.running if model.beat is not None else 0
    return [
        {
            "id": index,
            "n_ctx": settings.context_size,
            "speculative": settings.draft_tokens > 0,
            "is_processing": index < busy,
        }
        for index in range(settings.parallel)
    ]


def adapters(model: RunningModel) -> list[dict[str, Any]]:
    """Render ``/lora-adapters`` of a loaded model, with the scales of requests that name none.

    Their paths are nobody's business: the names stand there.
    """
    return [
        {
            "id": index,
            "path": facts.name,
            "name": facts.name,
            "scale": 1.0,
            "task_name": facts.task,
            "prompt_prefix": facts.prompt_prefix,
        }
        for index, facts in enumerate(loaded(model).model.adapters)
    ]


def loaded(model: RunningModel) -> Ready:
    """Return what was loaded; raise UNAVAILABLE while it is not."""
    if model.ready is None:
        raise RunnerError(Kind.UNAVAILABLE, f"{model.name} is being loaded", retry_after_s=1)
    return model.ready
