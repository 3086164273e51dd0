"""What can be set for one model, by whom, and whose word counts. Pure.

The order, from the strongest: a request's own fields, ``configure``, Compose, the flags and
variables of ``serve``, what the model was packaged with; then what the model's GGUF hints, what was
measured here, and the rules of thumb, which the worker looks at itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import structs

from runner.durations import parse_keep_alive, render_keep_alive
from runner.wire.messages import ChatPrompt, EngineWishes, Sampling, Submit

Origin = Literal["configure", "compose", "serve", "package"]
ORDER: tuple[Origin, ...] = ("configure", "compose", "serve", "package")

DEFAULT_KEEP_ALIVE_S = 300.0
NO_SAMPLING = Sampling()


class Options(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one of them sets; None: nothing. Names are those of ``EngineWishes`` and ``Sampling``.

    Decoding checks types; whoever takes values from outside checks their ranges.
    """

    keep_alive: str | None = None  # in the grammar of runner.durations
    draft_model: str | None = None  # name of the stored model that guesses for it
    # wishes of the engine
    context_size: int | None = None
    parallel: int | None = None
    threads: int | None = None
    threads_batch: int | None = None
    batch_size: int | None = None
    ubatch_size: int | None = None
    flash_attention: bool | None = None
    kv_layout: Literal["unified", "streams"] | None = None
    kv_type: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None = None
    gpu_layers: int | None = None
    speculation: bool | None = None
    target_gap_ms: int | None = None
    max_queue: int | None = None
    prefix_ram_bytes: int | None = None
    prefix_disk_bytes: int | None = None
    # how tokens are chosen where a request does not say
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_budget: int | None = None  # tokens of one thought; -1: any number

    def stated(self) -> dict[str, Any]:
        """List what is set."""
        pairs = msgspec.structs.asdict(self).items()
        return {name: value for name, value in pairs if value is not None}


WISHES = frozenset(Options.__struct_fields__) & frozenset(EngineWishes.__struct_fields__)
SAMPLING = frozenset(Options.__struct_fields__) & frozenset(Sampling.__struct_fields__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How one model is to be run."""

    wishes: EngineWishes
    keep_alive_s: float = DEFAULT_KEEP_ALIVE_S  # idle seconds to its unloading; math.inf keeps it
    draft_model: str | None = None  # name of the stored model that guesses for it
    sampling: Sampling = NO_SAMPLING  # for what requests leave open
    reasoning_budget: int | None = None  # likewise; None: thoughts have no bound
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)  # by options' names

    def stated(self) -> dict[str, Any]:
        """List the values that somebody set, by options' names."""
        chosen: dict[str, Any] = {
            "keep_alive": render_keep_alive(self.keep_alive_s),
            "draft_model": self.draft_model,
        }
        chosen["reasoning_budget"] = -1 if self.reasoning_budget is None else self.reasoning_budget
        chosen |= {name: getattr(self.wishes, name) for name in WISHES}
        chosen |= {name: getattr(self.sampling, name) for name in SAMPLING}
        return {name: chosen[name] for name in self.origins}


def settle(layers: Mapping[Origin, Options]) -> ModelSettings:
    """Say how a model is to be run."""
    chosen, origins = strongest(layers)
    keep_alive, budget = chosen.get("keep_alive"), chosen.get("reasoning_budget")
    sampling: dict[str, Any] = {name: chosen.get(name) for name in SAMPLING}
    return ModelSettings(
        wishes=EngineWishes(**{name: chosen.get(name) for name in WISHES}),
        keep_alive_s=DEFAULT_KEEP_ALIVE_S if keep_alive is None else parse_keep_alive(keep_alive),
        draft_model=chosen.get("draft_model"),
        sampling=Sampling(**sampling),
        reasoning_budget=None if budget is None or budget < 0 else budget,
        origins=origins,
    )


def strongest(layers: Mapping[Origin, Options]) -> tuple[dict[str, Any], dict[str, Origin]]:
    """Take each value from the strongest who states it; return values and who that was."""
    chosen: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for origin in ORDER:
        for name, value in layers.get(origin, Options()).stated().items():
            if name not in chosen:
                chosen[name], origins[name] = value, origin
    return chosen, origins


def merged(old: Options, new: Options, unset: frozenset[str] = frozenset()) -> Options:
    """Change what ``new`` states, forget what ``unset`` names, and keep the rest."""
    kept = {name: value for name, value in old.stated().items() if name not in unset}
    return Options(**(kept | new.stated()))


def completed(request: Submit, settings: ModelSettings) -> Submit:
    """Fill what a request leaves open with what is set for its model."""
    filled = {
        name: value
        for name in SAMPLING
        if getattr(request.sampling, name) is None
        and (value := getattr(settings.sampling, name)) is not None
    }
    if filled:
        request = structs.replace(request, sampling=structs.replace(request.sampling, **filled))
    prompt, budget = request.prompt, settings.reasoning_budget
    if isinstance(prompt, ChatPrompt) and prompt.reasoning_budget is None and budget is not None:
        request = structs.replace(request, prompt=structs.replace(prompt, reasoning_budget=budget))
    return request
