"""The ``options`` of a request: how tokens are chosen, and how many. Pure.

What Ollama calls options is of two kinds. Those that choose tokens are honoured. Those that tell
its runner how to load a model are this server's own to choose: they are ignored and reported, as
one caller's wish would change the model for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.api.fields import Field, Fields, Ignored, Shape, integer, nested
from runner.api.openai import sampling
from runner.api.openai.generation import STOP
from runner.wire.messages import Sampling


@dataclass(frozen=True, slots=True)
class Options:
    """What a request's options say."""

    sampling: Sampling
    max_tokens: int | None = None  # None: until the context is full
    stop: tuple[str, ...] = ()


_NAMES = {
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "mirostat_tau",
    "mirostat_eta",
    "mirostat",
}
# As other dialects have them.
_SHARED: tuple[Field[Any], ...] = tuple(
    field for field in (*sampling.NUMBERS, *sampling.INTEGERS) if field.name in _NAMES
)
_REPEAT_LAST_N = integer(
    "repeat_last_n", "how many tokens count as recent; -1: all", -1, sampling.MAX_WINDOW
)
_NUM_PREDICT = integer(
    "num_predict",
    "how many tokens at most; negative: until the context is full",
    -2,
    sampling.MAX_TOKEN,
)
_CHOSEN = "how a model is loaded is measured and chosen by the server"
_GONE = "the engine does not know it any more; Ollama took it out as well, and ignores it"

SHAPE = Shape(
    "Ollama options",
    (
        *_SHARED,
        sampling.TOP_K,
        _REPEAT_LAST_N,
        sampling.SEED,
        _NUM_PREDICT,
        STOP,
        Ignored(
            "num_ctx",
            "the model keeps the context it was loaded with; what does not fit is refused, with "
            "both numbers",
        ),
        Ignored("num_keep", "nothing of a conversation is ever dropped"),
        *(
            Ignored(name, _CHOSEN)
            for name in (
                "num_batch",
                "num_gpu",
                "main_gpu",
                "num_thread",
                "numa",
                "low_vram",
                "f16_kv",
                "use_mmap",
                "use_mlock",
            )
        ),
        Ignored("logits_all", "logprobs asks for what it was needed for"),
        Ignored("embedding_only", "the model's file tells whether it makes embeddings"),
        Ignored("vocab_only", _GONE),
        Ignored("tfs_z", _GONE),
        Ignored("penalize_newline", _GONE),
    ),
)
OPTIONS = nested("options", "how tokens are chosen, and how many", SHAPE)

EMBED_OPTIONS = Ignored("options", "no tokens are chosen for a vector")


def parse(fields: Fields, ignored: dict[str, None]) -> Options:
    """Take the options of a request; raise INVALID_REQUEST naming the one at fault."""
    given = fields.take(OPTIONS) or SHAPE.open({}, OPTIONS.name)
    values: dict[str, Any] = {field.name: given.take(field) for field in _SHARED}
    top_k, seed = given.take(sampling.TOP_K), given.take(sampling.SEED)
    limit = given.take(_NUM_PREDICT)
    parsed = Options(
        sampling=Sampling(
            **values,
            top_k=0 if top_k == -1 else top_k,
            repeat_last_n=given.take(_REPEAT_LAST_N),
            seed=None if seed == -1 else seed,
        ),
        max_tokens=None if limit is None or limit < 0 else limit,
        stop=given.take(STOP) or (),
    )
    ignored.update(dict.fromkeys(f"options.{name}" for name in given))
    return parsed
