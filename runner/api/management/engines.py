"""Docker Model Runner's ``/engines`` routes: what is loaded, tuning, unloading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from runner.api import bodies
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import (
    Fields,
    Ignored,
    Shape,
    array,
    as_text,
    boolean,
    refuse,
    required,
    text,
)
from runner.api.keys import Scope
from runner.api.management import render
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.service import Engines as Service

MAX_NAMES = 1000
MAX_NAME_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Backend:
    """What is known of the native engine without loading it."""

    status: str  # Docker's grammar: "Running", "Error" or "Not Installed", then ": details"
    size_bytes: int  # of the library


class Engines:
    """The handlers of the engines' routes."""

    def __init__(self, engines: Service, *, survey: Callable[[], Backend]) -> None:
        self._engines = engines
        self._survey = survey

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        yield Route("GET", "/engines/ps", Scope.INFER, self.running, "list models in memory")
        yield Route("GET", "/engines/status", Scope.INFER, self.status, "tell of the engine")
        about = "measure a model on this machine, telling progress line by line"
        yield Route("POST", "/engines/tune", Scope.MANAGE, self.tune, about, TUNING)
        path, about = "/engines/tuned/{name}", "tell what was measured of a model"
        yield Route("GET", path, Scope.INFER, self.tuned, about)
        about = "unload models that are not in use"
        yield Route("POST", "/engines/unload", Scope.MANAGE, self.unload, about, UNLOADING)
        path, about = "/engines/install-backend", "say that the one backend is installed"
        yield Route("POST", path, Scope.MANAGE, self.install, about, INSTALLATION)
        path, about = (
            "/engines/uninstall-backend",
            "refuse: the one backend is part of this program",
        )
        yield Route("POST", path, Scope.MANAGE, self.uninstall, about, REMOVAL)

    async def running(self, call: Call) -> None:
        """List the models in memory."""
        now_s = time.time()
        shown = [render.running_model(one, now_s=now_s) for one in self._engines.running()]
        await call.reply_json(shown)

    async def status(self, call: Call) -> None:
        """Tell which backends there are."""
        await call.reply_json({"llama.cpp": self._survey().status})

    async def tune(self, call: Call) -> None:
        """Find the fastest settings of a model, telling each measurement on a line.

        The model is loaded if need be, and measured when it is idle. Who leaves ends the search.
        """
        name = await bodies.read(call, TUNING, _parse_name)
        async with while_wanted(call.exchange), await self._engines.lease(name) as lease:
            in_force = lease.ready.settings
            stream = await call.open_stream("application/json", heartbeat=b"\n")
            await stream.send(render.tuning_begun(in_force))
            async with aclosing(lease.tune()) as reports:
                async for report in reports:
                    await stream.send(render.tuning_line(report))
            await stream.finish()

    async def tuned(self, call: Call) -> None:
        """Tell what was measured of a model on this machine; null when nothing was."""
        record = await self._engines.tuned(call.name)
        await call.reply_json(None if record is None else msgspec.to_builtins(record))

    async def install(self, call: Call) -> None:
        """Say that llama.cpp is there: 200; it is built with this program, never while it runs."""
        await bodies.read(call, INSTALLATION, _check_backend)
        status = self._survey().status
        if not status.startswith("Running"):
            raise RunnerError(
                Kind.UNAVAILABLE,
                f"llama.cpp is not installed: {status}",
                hint="run python build_native.py",
            )
        await call.reply(b"")

    async def uninstall(self, call: Call) -> None:
        """Refuse."""
        await bodies.read(call, REMOVAL, _check_backend)
        raise RunnerError(Kind.CONFLICT, "llama.cpp is part of this program, and stays")

    async def unload(self, call: Call) -> None:
        """Unload models that are not in use."""
        names = await bodies.read(call, UNLOADING, _parse_unload)
        await call.reply_json({"unloaded_runners": await self._engines.unload(names)})


MODEL = required(
    text("model", "the model's name", max_characters=MAX_NAME_CHARACTERS), 'send {"model": NAME}'
)
TUNING = Shape("tuning", (MODEL,))

ALL = boolean("all", "whether all models are unloaded")
MODELS = array("models", "which models are", {"items": {"type": "string"}, "maxItems": MAX_NAMES})
UNLOADING = Shape(
    "unloading", (ALL, MODELS, Ignored("backend", "all models have the same backend"))
)

BACKEND = required(
    text("backend", "the engine's name", max_characters=64), 'send {"backend": "llama.cpp"}'
)
INSTALLATION = Shape(
    "installation", (BACKEND, Ignored("version", "the version is the one that was built"))
)
REMOVAL = Shape("removal", (BACKEND,))


def _check_backend(fields: Fields) -> None:
    name = fields.take(BACKEND)
    if name != "llama.cpp":
        raise RunnerError(
            Kind.NOT_FOUND,
            f"there is no backend {name!r}",
            hint="llama.cpp is the only one",
            param="backend",
        )


def _parse_name(fields: Fields) -> str:
    name = fields.take(MODEL)
    if not name:
        refuse("model", "the name of a model", name)
    return name


def _parse_unload(fields: Fields) -> list[str] | None:
    """Return the names, or None for all."""
    wants_all = fields.take(ALL) or False
    names = fields.take(MODELS) or []
    if not wants_all and not names:
        raise RunnerError(Kind.INVALID_REQUEST, 'expected {"all": true} or {"models": [NAME]}')
    if len(names) > MAX_NAMES:
        refuse(MODELS.name, f"at most {MAX_NAMES} names", names)
    checked = [as_text(n, f"models[{i}]", MAX_NAME_CHARACTERS) for i, n in enumerate(names)]
    return None if wants_all else checked
