"""Routes for what lies on the disk: what it takes, adding, removing, pruning, checking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api import bodies
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import (
    Field,
    Fields,
    Shape,
    as_text,
    boolean,
    flag,
    integer,
    refuse,
    required,
    text,
    word,
)
from runner.api.keys import Scope
from runner.api.management import chores
from runner.api.management.engines import Backend
from runner.api.management.removing import remove
from runner.api.management.telling import tell
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.service import Catalogue, Engines, Phase, Program, PruneWish, Upkeep, choose

MAX_PATH_CHARACTERS = 4096
MAX_UNUSED_S = 100 * 365 * 86400

PURGE = "purge"  # the one route of all models that could be a model's name


FORCE = flag("force", "whether all names of a model go, and the model though it is in use")


class Storage:
    """The handlers of the store's chores."""

    def __init__(
        self,
        catalogue: Catalogue,
        engines: Engines,
        upkeep: Upkeep,
        *,
        survey: Callable[[], Backend],
    ) -> None:
        self._catalogue = catalogue
        self._engines = engines
        self._upkeep = upkeep
        self._survey = survey

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes; before those of models whose names begin alike."""
        yield Route("GET", "/engines/df", Scope.INFER, self.usage, "count bytes on disk")
        about = "hash every blob, telling progress line by line"
        yield Route("POST", "/models/check", Scope.MANAGE, self.check, about, CHECK)
        about = "remove what no model needs"
        yield Route("POST", "/models/prune", Scope.MANAGE, self.prune, about, PRUNE)
        about = "take a model over from another program, or list what it has"
        yield Route("POST", "/models/import", Scope.ADMIN, self.import_model, about, IMPORT)
        about = "move the store to another folder"
        yield Route("POST", "/models/move", Scope.ADMIN, self.move, about, MOVE)
        path, about = f"/models/{PURGE}", "remove all models"
        yield Route("DELETE", path, Scope.MANAGE, self.purge, about, query=(FORCE,))
        path, about = "/models/{name}", "take a name from a model; with the last the model goes"
        yield Route("DELETE", path, Scope.MANAGE, self.remove, about, query=(FORCE,))

    async def usage(self, call: Call) -> None:
        """Count bytes on disk."""
        usage = await self._upkeep.usage()
        await call.reply_json(chores.usage(usage, engine_bytes=self._survey().size_bytes))

    async def remove(self, call: Call) -> None:
        """Take a name from a model, and the model with its last name; a busy one only by force."""
        await self._remove(call, call.name)

    async def _remove(self, call: Call, name: str) -> None:
        force = call.query(FORCE) or False
        removal = await remove(name, self._catalogue, self._engines, force=force)
        await call.reply_json(chores.removal(removal))

    async def purge(self, call: Call) -> None:
        """Remove all models. As in Docker's, those in memory go on until they are unloaded.

        With ``force`` in the query it is one model that somebody has called so: Docker's client
        and ours send it with every removal of a model, and never to purge.
        """
        if call.query(FORCE) is not None:
            await self._remove(call, PURGE)
            return
        await self._upkeep.purge()
        await call.reply(b"")

    async def prune(self, call: Call) -> None:
        """Remove what no model needs, and models that were not used for long if asked."""
        wanted = await bodies.read(call, PRUNE, _parse_prune)
        unused_s = wanted.unused_since_s
        wish = PruneWish(
            unused_before_s=None if unused_s is None else time.time() - unused_s,
            untagged=wanted.untagged,
            in_use=frozenset(Digest.parse(model.id) for model in self._engines.running()),
        )
        pruned = await self._upkeep.prune(wish, is_dry_run=wanted.is_dry_run)
        await call.reply_json(chores.pruned(pruned))

    async def check(self, call: Call) -> None:
        """Hash every blob and tell what is damaged, line by line. Who leaves ends it."""
        repair = await bodies.read(call, CHECK, lambda fields: fields.take(REPAIR) or False)
        async with while_wanted(call.exchange):
            await tell(
                call,
                lambda on_progress: self._upkeep.check(repair=repair, on_progress=on_progress),
                chores.checked_line,
            )

    async def import_model(self, call: Call) -> None:
        """Take a model over from another program's folder; without a name, list what is there."""
        call.require_local("models can be imported")
        wanted = await bodies.read(call, IMPORT, _parse_import)
        there = await self._upkeep.list_foreign(wanted.program, wanted.path)
        if wanted.name is None:
            await call.reply_json([chores.found(each) for each in there])
            return
        found = choose(there, wanted.name)
        async with while_wanted(call.exchange):
            await tell(
                call,
                lambda on_progress: self._upkeep.import_model(
                    found, wanted.target, on_progress=on_progress
                ),
                chores.imported_line,
            )

    async def move(self, call: Call) -> None:
        """Move the store to another folder of this machine, telling progress line by line."""
        call.require_local("the store can be moved")
        target = await bodies.read(call, MOVE, lambda fields: fields.take(PATH))
        if any(model.phase is Phase.LOADING for model in self._engines.running()):
            raise RunnerError(
                Kind.CONFLICT, "a model is being loaded", hint="try again in a moment"
            )
        await self._engines.unload()  # so that the old disk really gets its space back
        async with while_wanted(call.exchange):
            await tell(
                call,
                lambda on_progress: self._upkeep.move(target, on_progress=on_progress),
                lambda is_remembered: chores.moved_line(target, is_remembered=is_remembered),
            )


@dataclass(frozen=True, slots=True)
class _Import:
    program: Program
    path: Path
    name: str | None  # None: tell what is there
    target: Reference | None


@dataclass(frozen=True, slots=True)
class _Prune:
    unused_since_s: int | None
    untagged: bool
    is_dry_run: bool


# ---- fields ----------------------------------------------------------------------------------


def _read_folder(value: Any, param: str) -> Path:
    path = Path(as_text(value, param, MAX_PATH_CHARACTERS))
    if not path.is_absolute() or "\0" in str(path) or ".." in path.parts:
        refuse(param, "the absolute path of a folder", value)
    return path


REPAIR = boolean("repair", "whether damaged blobs are removed, to be pulled again")
CHECK = Shape("check", (REPAIR,))

PATH = required(Field("path", "the absolute path of a folder", {"type": "string"}, _read_folder))
MOVE = Shape("move", (PATH,))

PROGRAM = required(word("from", "the program that has it", tuple(Program)))
NAME = text(
    "name", "the model there; without it, all are listed", max_characters=MAX_PATH_CHARACTERS
)
TARGET = text("target", "what it is called here", max_characters=MAX_PATH_CHARACTERS)
IMPORT = Shape("import", (PROGRAM, PATH, NAME, TARGET))

UNUSED_S = integer("unused_since_s", "models not used for so many seconds", 0, MAX_UNUSED_S)
UNTAGGED = boolean("untagged", "models that have no name")
DRY_RUN = boolean("dry_run", "whether it is only told what would be removed")
PRUNE = Shape("prune", (UNUSED_S, UNTAGGED, DRY_RUN))


# ---- parsing ---------------------------------------------------------------------------------


def _parse_import(fields: Fields) -> _Import:
    target = fields.take(TARGET)
    return _Import(
        program=fields.take(PROGRAM),
        path=fields.take(PATH),
        name=fields.take(NAME),
        target=Reference.parse(target) if target else None,
    )


def _parse_prune(fields: Fields) -> _Prune:
    return _Prune(
        unused_since_s=fields.take(UNUSED_S),
        untagged=fields.take(UNTAGGED) or False,
        is_dry_run=fields.take(DRY_RUN) or False,
    )
