"""One loaded model in a child process: start, submit, watch, stop.

Decides nothing about which models are loaded or restarted: that is ``service``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from itertools import count

import msgspec

from runner.errors import Kind, RunnerError
from runner.supervise.child import Child, Command, Handlers
from runner.supervise.completion import Completion
from runner.supervise.death import Death, babbled, explain_exit, hung, stopped
from runner.supervise.lines import LineLog
from runner.supervise.watch import Patience, Watch
from runner.wire.codec import encode, from_worker_decoder
from runner.wire.frames import FrameError
from runner.wire.messages import (
    Beat,
    Cancel,
    Event,
    Events,
    Failed,
    FromWorker,
    Load,
    LoadFailed,
    LoadProgress,
    Measured,
    Ready,
    Request,
    RequestId,
    Stop,
    Tune,
    Tuned,
    is_last,
)

MAX_UNREAD_BYTES = 128 * 1024 * 1024  # a reading worker empties the pipe in milliseconds
ASKED = (0, -signal.SIGTERM, -signal.SIGKILL)  # the ends that stop() brings about
LOG = logging.getLogger("runner.worker")  # of engines alone: runner.log_lines knows the name

TuningListener = Callable[[Measured | Tuned], None]


class Worker:
    """A worker process that has said :class:`Ready`, until its death.

    A death, whatever its cause, ends every open request with exactly one ``Failed`` and fails
    later ones at once. The child is always reaped, also when nobody waits.
    """

    ready: Ready
    beat: Beat | None = None  # the last numbers
    on_tuning: TuningListener | None = None  # told of every search, also of those nobody asked for

    def __init__(self, *, patience: Patience, on_progress: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._on_progress = on_progress
        self._decoder = from_worker_decoder()
        self._watch = Watch(patience, now_s=self._loop.time())
        self._child = Child(self._handlers())
        self._lines = LineLog(self._log, now_s=self._loop.time())
        self._ids = count(1)
        self._open: dict[RequestId, Completion] = {}
        self._tuners: list[TuningListener] = []  # who asked for a search and waits for its end
        self._loading: asyncio.Future[Ready] = self._loop.create_future()
        self._dead: asyncio.Future[Death] = self._loop.create_future()
        self._verdict: Death | None = None  # ours, when we end it for a fault
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(
        cls,
        load: Load,
        *,
        command: Command,
        on_progress: Callable[[float], None] = lambda fraction: None,
        patience: Patience | None = None,
    ) -> Worker:
        """Spawn a worker and wait until its model is loaded.

        ``on_progress`` gets the share loaded, 0..1. Raises RunnerError: what the worker says of
        a failed load, LOAD_FAILED when it cannot be run, TIMEOUT when the load stalls,
        ENGINE_CRASHED when it dies. Cancelling ends the child before it returns.
        """
        worker = cls(patience=patience or Patience(), on_progress=on_progress)
        try:
            await worker._child.start(command)
        except OSError as error:
            raise RunnerError(
                Kind.LOAD_FAILED, f"cannot start an engine process: {error}"
            ) from error
        try:
            worker._check()
            worker._send(encode(load))
            worker.ready = await asyncio.shield(worker._loading)
        except BaseException:
            worker._end(signal.SIGKILL)
            while not worker._dead.done():  # however often it is cancelled
                with contextlib.suppress(asyncio.CancelledError):
                    await worker.wait()
            raise
        return worker

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether requests can be sent."""
        return self._verdict is None and not self._stopping and not self._dead.done()

    def submit(self, request: Request) -> Completion:
        """Send a request under an id of our own; never waits, never raises.

        A dead worker, or a request too large for a frame, gives a completion with one ``Failed``.
        """
        id = next(self._ids)
        completion = Completion(id, cancel=self._cancel)
        if not self.is_alive:
            completion.deliver((self._verdict or self._death_or_stop()).failed(id))
            return completion
        try:
            frame = encode(msgspec.structs.replace(request, id=id))
        except FrameError as error:
            completion.deliver(Failed(id=id, kind=Kind.TOO_LARGE.value, message=str(error)))
            return completion
        self._open[id] = completion
        self._send(frame)
        return completion

    def tune(self, listener: TuningListener) -> Callable[[], None]:
        """Ask for a search for better settings; return what leaves it.

        ``listener`` gets each measurement and one :class:`Tuned`, also from a worker that dies.
        Whoever asks while a search runs hears the rest of it. The last to leave ends it.
        """

        def leave() -> None:
            if listener in self._tuners:
                self._tuners.remove(listener)
                if not self._tuners and self.is_alive:
                    self._send(encode(Tune(stop=True)))

        self._tuners.append(listener)
        if not self.is_alive:
            self._tell_tuners(
                Tuned(problem=(self._verdict or self._death_or_stop()).error().message)
            )
        elif len(self._tuners) == 1:
            self._send(encode(Tune()))
        return leave

    async def wait(self) -> Death:
        """Wait for the end of the process and say why it ended."""
        return await asyncio.shield(self._dead)

    async def stop(self, grace_s: float) -> Death:
        """End the worker: ask, then SIGTERM, then SIGKILL; return when it is reaped.

        It may finish what runs within ``grace_s`` seconds; what is still open then fails with
        UNAVAILABLE.
        """
        if self.is_alive:
            self._stopping = True
            self._send(encode(Stop(grace_s=grace_s)))
        for limit_s, then in (
            (grace_s + self._patience.exit_s, signal.SIGTERM),
            (self._patience.exit_s, signal.SIGKILL),
        ):
            if await self._exits_within(limit_s):
                break
            self._end(then)
        return await self.wait()

    # ---- from the child ----------------------------------------------------------------------

    def _handlers(self) -> Handlers:
        return Handlers(
            output=self._read_output,
            errors=lambda data: self._lines.feed(data, now_s=self._loop.time()),
            blocked=lambda state: self._watch.blocked(state, now_s=self._loop.time()),
            hung_up=self._hung_up,
            ended=self._ended,
        )

    def _read_output(self, data: bytes) -> None:
        if self._verdict is not None:
            return
        try:
            for message in self._decoder.feed(data):
                self._receive(message)
        except FrameError as error:
            self._condemn(babbled(str(error), stderr=self._lines.tail))

    def _receive(self, message: FromWorker) -> None:
        """Act on one message; raise FrameError for one that has no place here."""
        now_s = self._loop.time()
        self._watch.heard(now_s=now_s)
        match message:
            case Events() if self._is_ready:
                for event in message.events:
                    self._deliver(event)
            case Beat() if self._is_ready:
                self.beat = message
                self._watch.stepping(message.step_running_s)
            case Measured() | Tuned() if self._is_ready:
                if self.on_tuning is not None:
                    self.on_tuning(message)
                self._tell_tuners(message)
            case LoadProgress() if not self._loading.done():
                self._watch.progressed(message.fraction, now_s=now_s)
                self._on_progress(message.fraction)
            case Ready() if not self._loading.done():
                self._watch.loaded(now_s=now_s)
                self._loading.set_result(message)
            case LoadFailed() if not self._loading.done():
                self._settle_loading(load_error(message, stderr=self._lines.tail))
            case _:
                raise FrameError(f"{type(message).__name__} out of place")

    def _deliver(self, event: Event) -> None:
        completion = self._open.get(event.id)
        if completion is None:
            raise FrameError(f"{type(event).__name__} for id {event.id}, which is not open")
        if is_last(event):
            del self._open[event.id]
        completion.deliver(event)

    def _tell_tuners(self, message: Measured | Tuned) -> None:
        listeners = list(self._tuners)
        if isinstance(message, Tuned):
            self._tuners.clear()
        for listener in listeners:
            listener(message)

    def _hung_up(self) -> None:
        # Part of every exit; a child that lives on without its pipes is of no use.
        self._loop.call_later(self._patience.exit_s, self._condemn_if_alive)

    def _condemn_if_alive(self) -> None:
        if not self._dead.done():
            self._condemn(babbled("it closed its pipe", stderr=self._lines.tail))

    def _ended(self, returncode: int) -> None:
        self._lines.finish()
        if self._timer is not None:
            self._timer.cancel()
        as_asked = self._stopping and returncode in ASKED
        death = stopped() if as_asked else explain_exit(returncode, stderr=self._lines.tail)
        death = self._verdict or death
        self._dead.set_result(death)
        self._fail_open(death)
        self._settle_loading(death.error())

    # ---- our own acts ------------------------------------------------------------------------

    def _check(self) -> None:
        """Look at the watch, again and again until the end."""
        self._timer = self._loop.call_later(self._patience.check_s, self._check)
        message = self._watch.verdict(now_s=self._loop.time())
        if message is not None:
            self._condemn(hung(message, stderr=self._lines.tail))

    def _condemn(self, death: Death) -> None:
        """End the child for a fault; its requests do not wait for the exit."""
        if self._verdict is not None or self._dead.done():
            return
        self._verdict = death
        self._end(signal.SIGKILL)
        self._fail_open(death)
        self._settle_loading(death.error())

    def _fail_open(self, death: Death) -> None:
        completions, self._open = self._open, {}
        for id, completion in completions.items():
            completion.deliver(death.failed(id))
        self._tell_tuners(Tuned(problem=death.error().message))

    def _settle_loading(self, error: RunnerError) -> None:
        if not self._loading.done():
            self._loading.set_exception(error)
            self._loading.exception()  # seen: a cancelled start reads it no more

    def _log(self, line: str) -> None:
        LOG.info("[%d] %s", self.pid, line)

    def _cancel(self, id: RequestId) -> None:
        if id in self._open:
            self._send(encode(Cancel(id=id)))

    def _send(self, frame: bytes) -> None:
        self._child.write(frame)
        if self._child.unread_bytes > MAX_UNREAD_BYTES:
            self._condemn(hung("the engine process reads no input", stderr=self._lines.tail))

    def _end(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    async def _exits_within(self, limit_s: float) -> bool:
        done, _ = await asyncio.wait({self._dead}, timeout=limit_s)
        return bool(done)

    def _death_or_stop(self) -> Death:
        return self._dead.result() if self._dead.done() else stopped()

    @property
    def _is_ready(self) -> bool:
        return self._loading.done() and self._loading.exception() is None


def load_error(message: LoadFailed, *, stderr: tuple[str, ...]) -> RunnerError:
    """Render what a worker says of its failed load."""
    try:
        kind = Kind(message.kind)
    except ValueError:
        kind = Kind.LOAD_FAILED
    details = {"stderr": list(stderr)} if kind is Kind.LOAD_FAILED and stderr else None
    return RunnerError(kind, message.message, hint=message.hint, details=details)
