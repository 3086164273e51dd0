"""The ``options`` of a request: how tokens are chosen, and how many. Pure.

What Ollama calls options is of two kinds. Those that choose tokens are honoured. Those that tell
its runner how to load a model are this server's own to choose: where the answer does not depend on
them they are ignored and reported, else refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.api.fields import Field, Fields, Ignored, Shape, integer, nested
from runner.api.openai import sampling
from runner.api.openai.generation import STOP
from runner.errors import Kind, RunnerError
from runner.wire.messages import Ready, Sampling

MAX_CONTEXT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """What a request's options say."""

    sampling: Sampling
    max_tokens: int | None = None  # None: until the context is full
    stop: tuple[str, ...] = ()
    context_size: int | None = None  # tokens that the conversation needs room for

    def check_context(self, ready: Ready) -> None:
        """Raise INVALID_REQUEST when the loaded model has less room than was asked for."""
        have = ready.settings.context_size
        if self.context_size is not None and self.context_size > have:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"options.num_ctx: expected at most {have}, the context that the model was loaded "
                f"with, got {self.context_size}",
                hint=f"start the server with --context-size {self.context_size}, "
                "or leave num_ctx out",
                param="options.num_ctx",
            )


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
_NUM_CTX = integer(
    "num_ctx", "refused when it is more than the context the model was loaded with", 1, MAX_CONTEXT
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
        _NUM_CTX,
        STOP,
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

_EMBED_SHAPE = Shape(
    "Ollama embed options",
    (
        _NUM_CTX,
        *(
            Ignored(member.name, "no tokens are chosen for a vector")
            for member in SHAPE.members
            if member is not _NUM_CTX
        ),
    ),
)
EMBED_OPTIONS = nested("options", "num_ctx, and what has no effect on vectors", _EMBED_SHAPE)


def parse_embed(fields: Fields, ignored: dict[str, None]) -> Options:
    """Take the options of a request for vectors; raise INVALID_REQUEST naming the one at fault."""
    given = fields.take(EMBED_OPTIONS) or _EMBED_SHAPE.open({}, EMBED_OPTIONS.name)
    parsed = Options(Sampling(), context_size=given.take(_NUM_CTX))
    ignored.update(dict.fromkeys(f"options.{name}" for name in given))
    return parsed


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
        context_size=given.take(_NUM_CTX),
    )
    ignored.update(dict.fromkeys(f"options.{name}" for name in given))
    return parsed
