"""One chat request, whatever dialect it came in. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from runner.api.openai.media import RemoteFile
from runner.wire.messages import AdapterScale, ChatPrompt, Sampling, Submit

MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One chat request, valid but for what only the loaded model can tell."""

    model: str
    prompt: ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    choices: int
    stream: bool
    include_usage: bool
    cache_prompt: bool
    adapters: tuple[AdapterScale, ...] | None = None  # None: all that the model has
    keep_alive_s: float | None = None  # None: as it is set for the model
    custom_tools: frozenset[str] = frozenset()  # functions that the client knows as custom tools
    remote: tuple[RemoteFile, ...] = ()  # of the prompt, and not in it yet
    ignored: tuple[str, ...]  # names of fields that had no effect

    def submits(self, *, client: str) -> list[Submit]:
        """Return what the engine is asked: one for each choice."""
        return [
            Submit(
                id=0,
                prompt=self.prompt,
                sampling=sampling_of(self.sampling, choice),
                max_tokens=self.max_tokens,
                stop=self.stop,
                cache_prompt=self.cache_prompt,
                client=client,
                adapters=self.adapters,
            )
            for choice in range(self.choices)
        ]


def sampling_of(asked: Sampling, choice: int) -> Sampling:
    """Return how one choice is sampled; seeds of choices follow one another."""
    if not choice or asked.seed is None:
        return asked
    return msgspec.structs.replace(asked, seed=(asked.seed + choice) % MAX_SEED)
