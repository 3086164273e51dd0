"""Docker Model Runner's ``_configure``: what is kept of a model, and where each value is from."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runner.api import bodies
from runner.api.call import Call, Handler
from runner.api.fields import (
    Fields,
    Ignored,
    Refused,
    Shape,
    array,
    as_text,
    integer,
    nested,
    refuse,
    required,
    text,
    word,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.keys import Scope
from runner.api.management.engines import MAX_NAME_CHARACTERS
from runner.api.routes import Route
from runner.durations import render_keep_alive
from runner.errors import Kind, RunnerError
from runner.service import Configuring, Engines, ModelSettings, RunningModel, Setting
from runner.service.flags import parse_flags, render_flags
from runner.service.options import Options, Origin, merged
from runner.wire.messages import TunedSettings

MAX_FLAGS = 200
MAX_FLAG_CHARACTERS = 4096
MAX_UNSET = 200


@dataclass(frozen=True, slots=True)
class Change:
    """What a request changes."""

    model: str
    options: Options
    unset: frozenset[str]
    origin: Origin


class Configure:
    """The handlers of models' options."""

    def __init__(self, configuring: Configuring, engines: Engines) -> None:
        self._configuring = configuring
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        for path in ("/engines/_configure", "/engines/llama.cpp/_configure"):
            about = "list the options that are kept of models"
            yield Route("GET", path, Scope.INFER, self.kept, about, query=(MODEL_QUERY,))
            about = "change options of a model, and load it with them"
            yield Route("POST", path, Scope.MANAGE, self.configure, about, CONFIGURATION)
            about = "forget the options of a model"
            yield Route("DELETE", path, Scope.MANAGE, self.reset, about, query=(MODEL_QUERY,))
        path, about = "/engines/settings/{name}", "tell a model's settings and where they come from"
        yield Route("GET", path, Scope.INFER, self.settings, about)

    async def configure(self, call: Call) -> None:
        """Keep the options, then load the model with them in the background."""
        change = await bodies.read(call, CONFIGURATION, parse_change)
        await self._configuring.configure(
            change.model, change.options, origin=change.origin, unset=change.unset
        )
        await self._engines.refresh(change.model, load=True)
        await call.reply(b"", status=202)

    async def kept(self, call: Call) -> None:
        """List what is kept."""
        found = await self._configuring.kept(call.query(MODEL_QUERY))
        await call.reply_json([render_setting(setting) for setting in found])

    async def reset(self, call: Call) -> None:
        """Forget what is kept of one model; a loaded one goes by what is left."""
        name = call.query(MODEL_QUERY)
        if name is None:
            raise RunnerError(Kind.INVALID_REQUEST, "model is required", param="model")
        was_kept = await self._configuring.reset(name)
        await self._engines.refresh(name, load=False)
        await call.reply_json({"reset": was_kept})

    async def settings(self, call: Call) -> None:
        """Tell what rules for a model, and who said so."""
        id, settings = await self._configuring.explain(call.name)
        loaded = next((one for one in self._engines.running() if one.id == id), None)
        await call.reply_json(render_settings(settings, loaded))


# ---- parsing ---------------------------------------------------------------------------------


MODEL = required(
    text("model", "the model's name", max_characters=MAX_NAME_CHARACTERS), 'send {"model": NAME}'
)
MODEL_QUERY = text("model", "the model's name", max_characters=MAX_NAME_CHARACTERS)
CONTEXT = integer("context-size", "tokens of one conversation; 0 or -1: no wish", -1, 2**31 - 1)
FLAGS = array(
    "runtime-flags", "llama-server's flags, those that set options", {"maxItems": MAX_FLAGS}
)
RAW_FLAGS = text("raw-runtime-flags", "the same in one string", max_characters=MAX_FLAG_CHARACTERS)
UNSET = array("unset", "names of options to forget, as context_size", {"maxItems": MAX_UNSET})
SOURCES: tuple[Origin, ...] = ("configure", "compose")
SOURCE = word("source", "who says so", SOURCES)

DRAFT_MODEL = text("draft_model", "a small stored model that guesses", max_characters=512)
SPECULATIVE = Shape(
    "speculative decoding",
    (
        DRAFT_MODEL,
        Ignored("num_tokens", "how many are guessed follows from how many were right"),
        Ignored("min_acceptance_rate", "guessing stops where it does not pay"),
    ),
)
SPECULATION = nested("speculative", "guessing with a draft model", SPECULATIVE)

BUDGET = integer("reasoning-budget", "tokens of one thought; -1: any number", -1, 2**31 - 1)
LLAMACPP = nested("llamacpp", "of this engine alone", Shape("engine's options", (BUDGET,)))

CONFIGURATION = Shape(
    "configuration",
    (
        MODEL,
        CONTEXT,
        FLAGS,
        RAW_FLAGS,
        KEEP_ALIVE,
        SPECULATION,
        UNSET,
        SOURCE,
        Ignored("mode", "a model's own header says what it can do"),
        LLAMACPP,
        Refused(
            "vllm",
            "is for an engine that is not here",
            hint="what llama.cpp takes is told by runtime-flags, as --n-gpu-layers",
        ),
    ),
)


def parse_change(fields: Fields) -> Change:
    """Parse the body of ``POST /engines/_configure``."""
    model = fields.take(MODEL)
    raw, words = fields.take(RAW_FLAGS), fields.take(FLAGS)
    if words is not None:
        flags = parse_flags(_words(words), param=FLAGS.name)
    else:
        flags = parse_flags(_split(raw or ""), param=RAW_FLAGS.name)
    speculative, context = fields.take(SPECULATION), fields.take(CONTEXT)
    keep_alive_s, engine = fields.take(KEEP_ALIVE), fields.take(LLAMACPP)
    stated = Options(
        keep_alive=None if keep_alive_s is None else render_keep_alive(keep_alive_s),
        context_size=context if context is not None and context > 0 else None,
        draft_model=speculative.take(DRAFT_MODEL) if speculative is not None else None,
        reasoning_budget=engine.take(BUDGET) if engine is not None else None,
    )
    return Change(
        model,
        merged(flags, stated),
        _unset(fields.take(UNSET) or []),
        fields.take(SOURCE) or "configure",
    )


def _words(words: list[Any]) -> list[str]:
    if len(words) > MAX_FLAGS:
        refuse(FLAGS.name, f"at most {MAX_FLAGS} flags", words)
    return [
        as_text(word, f"{FLAGS.name}[{index}]", MAX_FLAG_CHARACTERS)
        for index, word in enumerate(words)
    ]


def _split(raw: str) -> list[str]:
    try:
        return shlex.split(raw)
    except ValueError:
        refuse(RAW_FLAGS.name, "flags whose quotes are closed", raw)


def _unset(names: list[Any]) -> frozenset[str]:
    if len(names) > MAX_UNSET:
        refuse(UNSET.name, f"at most {MAX_UNSET} names", names)
    return frozenset(map(_option_name, names))


def _option_name(name: Any) -> str:
    known = as_text(name, UNSET.name, 64).replace("-", "_")
    if known not in Options.__struct_fields__:
        refuse(UNSET.name, "names of options: " + ", ".join(Options.__struct_fields__), name)
    return known


# ---- rendering -------------------------------------------------------------------------------


def render_setting(setting: Setting) -> dict[str, Any]:
    """Render one element of ``GET /engines/_configure``, in Docker's mixed styles of keys."""
    options = setting.options
    config: dict[str, Any] = {}
    if options.context_size is not None:
        config["context-size"] = options.context_size
    if options.keep_alive is not None:
        config["keep_alive"] = options.keep_alive
    if options.draft_model is not None:
        config["speculative"] = {"draft_model": options.draft_model}
    if options.reasoning_budget is not None:
        config["llamacpp"] = {"reasoning-budget": options.reasoning_budget}
    own_keys = frozenset({"context_size", "reasoning_budget"})
    without_own_key = merged(options, Options(), own_keys)
    if flags := render_flags(without_own_key):
        config["runtime-flags"] = flags
    shown = {
        "Backend": "llama.cpp",
        "Model": setting.model,
        "ModelID": setting.id or setting.model,
        "Mode": "completion",
        "Config": config,
    }
    return shown | {"Origins": dict(setting.origins)}  # ours: by the names of our own settings


def render_settings(settings: ModelSettings, loaded: RunningModel | None) -> list[dict[str, Any]]:
    """Render every value that rules for a model with its origin; those in force if it is loaded.

    What is left to the engine is not known before a load, and left out.
    """
    keep_alive_s = loaded.keep_alive_s if loaded else settings.keep_alive_s
    origin: str = settings.origins.get("keep_alive", "default")
    if keep_alive_s != settings.keep_alive_s:
        origin = "request"
    rows: dict[str, tuple[Any, str]] = {"keep_alive": (render_keep_alive(keep_alive_s), origin)}
    stated = settings.stated()
    in_force = loaded.settings if loaded else None
    for name in Options.__struct_fields__:
        if name in stated:
            rows.setdefault(name, (stated[name], settings.origins[name]))
        elif in_force is not None and hasattr(in_force, name):
            is_measured = in_force.origin == "tuned" and name in TunedSettings.__struct_fields__
            rows[name] = (getattr(in_force, name), "measured" if is_measured else "default")
    return [
        {"name": name, "value": value, "origin": origin} for name, (value, origin) in rows.items()
    ]
