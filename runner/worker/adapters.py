"""The LoRA adapters of a model: checked, loaded, and chosen by requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import binding
from runner.binding import NativeError
from runner.engine import Adapters
from runner.errors import Kind, RunnerError
from runner.wire.messages import AdapterFacts, AdapterScale
from runner.worker.model_file import check_adapter_file

HINT = "package the model again without it, or with an adapter that was made for it"


@dataclass(frozen=True, slots=True)
class LoadedAdapters:
    """The adapters of one loaded model, by index."""

    facts: tuple[AdapterFacts, ...] = ()

    @property
    def usual(self) -> tuple[float, ...]:
        """Scales where a request asks for none: a model packaged with adapters is meant so."""
        return (1.0,) * len(self.facts)

    def choose(self, wanted: tuple[AdapterScale, ...] | None) -> Adapters:
        """Return the scales of a request; those that it does not list are not used.

        Raises RunnerError(INVALID_REQUEST) naming what the model does not have.
        """
        if wanted is None:
            return None
        scales: dict[int, float] = {}
        for place, one in enumerate(wanted):
            index = self._find(one, place)
            if index in scales:
                raise _refusal(f"{_param(one, place)}: adapter {index} is listed twice", one, place)
            scales[index] = one.scale
        chosen = tuple(scales.get(index, 0.0) for index in range(len(self.facts)))
        return None if chosen == self.usual else chosen

    def _find(self, one: AdapterScale, place: int) -> int:
        if isinstance(one.adapter, int):
            found = one.adapter if one.adapter < len(self.facts) else None
        else:
            names = [facts.name for facts in self.facts]
            found = names.index(one.adapter) if one.adapter in names else None
        if found is None:
            known = ", ".join(f"{index} ({facts.name})" for index, facts in enumerate(self.facts))
            told = f"has the adapters {known}" if known else "has no adapters"
            raise _refusal(f"{_param(one, place)}: this model {told}", one, place)
        return found


def load_adapters(
    model: binding.Model, paths: Sequence[Path], *, architecture: str
) -> LoadedAdapters:
    """Load adapters in order, before any context of the model is made.

    Raises RunnerError(INVALID_MODEL) that names the file and says what is wrong with it.
    """
    facts: list[AdapterFacts] = []
    for path in paths:
        try:
            check_adapter_file(path, architecture)
            told = model.load_adapter(path)
        except (RunnerError, NativeError) as error:
            message = f"the adapter {path.name} cannot be used: {error.message}"
            raise RunnerError(Kind.INVALID_MODEL, message, hint=HINT) from error
        is_new = told["name"] and told["name"] not in [known.name for known in facts]
        name = told["name"] if is_new else path.stem
        facts.append(
            AdapterFacts(name=name, task=told["task"], prompt_prefix=told["prompt_prefix"])
        )
    return LoadedAdapters(tuple(facts))


def _param(one: AdapterScale, place: int) -> str:
    return f"lora[{place}].{'id' if isinstance(one.adapter, int) else 'name'}"


def _refusal(message: str, one: AdapterScale, place: int) -> RunnerError:
    return RunnerError(Kind.INVALID_REQUEST, message, param=_param(one, place))
