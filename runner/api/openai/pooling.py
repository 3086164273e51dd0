"""One question to a model that pools: its rows of numbers, or the error that names what failed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Protocol

from runner.api import faults, keep_alive
from runner.api.call import INLINE_BYTES, Call, while_wanted
from runner.api.choosing import ignored_header
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease
from runner.wire.messages import Embed, Failed, ModelFacts, Pooled, Rank


class Asked(keep_alive.Asked, Protocol):
    """A parsed request to a model that pools, whatever dialect it came in."""

    @property
    def model(self) -> str:
        """The model's name, as the client wrote it."""


async def answer(
    engines: Engines,
    call: Call,
    asked: Asked,
    request: Embed | Rank,
    render: Callable[[Pooled], bytes],
) -> None:
    """Answer one request with what ``render`` makes of the rows.

    Raises MODEL_NOT_SUPPORTED where the model is of another kind.
    """
    keep_alive_s, ignored = keep_alive.permitted(asked, call.allowed)
    leasing = engines.lease(asked.model, keep_alive_s=keep_alive_s)
    async with while_wanted(call.exchange), await leasing as lease:
        pooled = await pool_on(lease, asked.model, request)
    if len(pooled.values) <= INLINE_BYTES:
        body = render(pooled)
    else:
        body = await asyncio.to_thread(render, pooled)
    await call.reply(body, headers=[faults.JSON_TYPE, *ignored_header(ignored)])


async def pool_on(lease: Lease, model: str, request: Embed | Rank) -> Pooled:
    """Ask a model that is there; raise MODEL_NOT_SUPPORTED where it is of another kind."""
    check_kind(request, model, lease.ready.model)
    async with lease.submit(request) as completion:
        async for event in completion:
            match event:
                case Pooled():
                    return event
                case Failed():
                    raise faults.from_failed(event)
    raise RunnerError(Kind.INTERNAL, "the engine's events ended without a last one")


def named(body: dict[str, Any], engines: Engines, *, reranks: bool) -> dict[str, Any]:
    """Let a request that names no model mean the only one in memory that does what it asks.

    llama-server and text-embeddings-inference have one model, so their clients name none.
    """
    fitting = [
        {"model": one.name}
        for one in engines.running()
        if one.facts and one.facts.pooling and one.facts.reranks is reranks
    ]
    return fitting[0] | body if len(fitting) == 1 else body


def check_kind(request: Embed | Rank, model: str, facts: ModelFacts) -> None:
    """Raise for a model that cannot do this."""
    wanted = "ranks" if isinstance(request, Rank) else "embeddings"
    if not facts.pooling:
        made = "generates text"
        hint = "send it to /v1/chat/completions, or name another model"
    elif facts.reranks is not isinstance(request, Rank):
        made = "ranks documents" if facts.reranks else "makes embeddings"
        hint = f"send it to {'/v1/rerank' if facts.reranks else '/v1/embeddings'}"
    else:
        return
    raise RunnerError(
        Kind.MODEL_NOT_SUPPORTED,
        f"{model} {made} and cannot make {wanted}",
        hint=hint,
        param="model",
    )


def rows(pooled: Pooled) -> list[tuple[float, ...]]:
    """Read the numbers."""
    return [*struct.iter_unpack(f"<{pooled.width}f", pooled.values)]


def usage(*answers: Pooled) -> dict[str, int]:
    """Count the tokens of all inputs."""
    total = sum(sum(pooled.tokens) for pooled in answers)
    return {"prompt_tokens": total, "total_tokens": total}
