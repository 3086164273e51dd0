"""What needs a loaded model but no computing: asked of its worker."""

from __future__ import annotations

from runner.api import faults
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease
from runner.wire.messages import Answered, Ask, Detokenize, Failed, Prompt, Tokenize


async def ask(lease: Lease, question: Tokenize | Detokenize | Prompt) -> Answered:
    """Ask; raise the RunnerError that the worker answers with."""
    completion = lease.submit(Ask(id=0, question=question))
    async with completion:
        async for event in completion:
            match event:
                case Answered():
                    return event
                case Failed():
                    raise faults.from_failed(event)
    raise RunnerError(Kind.INTERNAL, "the engine's events ended without an answer")


def only_name(engines: Engines) -> str | None:
    """Return the name of the only model in memory; None when there are more, or none."""
    running = engines.running()
    return running[0].name if len(running) == 1 else None


def name_or_only(name: str | None, engines: Engines) -> str:
    """Return the name, or that of the only model in memory.

    Clients of llama-server, which has one model, name none. Raises INVALID_REQUEST.
    """
    found = only_name(engines) if name is None else name
    if found is not None:
        return found
    raise RunnerError(
        Kind.INVALID_REQUEST,
        f"model is required: {len(engines.running())} models are in memory",
        hint="GET /v1/models lists the models of this server",
        param="model",
    )
