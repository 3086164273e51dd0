"""The worker as a whole: takes messages, loads the model, and puts the parts together."""

from __future__ import annotations

import gc
import logging
import threading
import time
from functools import partial

from msgspec import structs

from runner import binding
from runner.engine import Scheduler
from runner.errors import Kind, RunnerError
from runner.wire.messages import (
    Ask,
    Cancel,
    DeviceMemory,
    Embed,
    Failed,
    Load,
    LoadFailed,
    LoadProgress,
    Rank,
    Request,
    Stop,
    Submit,
    Tune,
)
from runner.worker import settings as choosing
from runner.worker.answering import Answerer
from runner.worker.encoding import Encoding
from runner.worker.infill import find_infill
from runner.worker.llama import LlamaBackend
from runner.worker.loading import Loaded, LoadedPool, load, open_library
from runner.worker.loop import EngineLoop, Inbox
from runner.worker.machine import count_cpus, device_memory, resident_bytes
from runner.worker.neighbours import Neighbours
from runner.worker.outbox import Outbox
from runner.worker.parsing import Parsing
from runner.worker.parts import Engine, adapt_threads
from runner.worker.pooling import Packer, Texts
from runner.worker.pooling_loop import Pool, PoolingLoop
from runner.worker.pooling_prompts import asking_prompter, pooling_prompter
from runner.worker.pooling_settings import pass_rows
from runner.worker.prefix_files import PrefixFiles
from runner.worker.prefix_tier import keep, open_prefix_files, stock, with_stored
from runner.worker.preparer import Preparer
from runner.worker.prompts import Prepared, Prompter
from runner.worker.tokenizing import PrefixTokenizer
from runner.worker.translate import Translator
from runner.worker.tuner import make_tuner

LOG = logging.getLogger(__name__)

NATIVE_LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO}
PROGRESS_S = 0.1
LOOK_S = 0.25  # at the neighbours, while there is work
PARSE_S = 2.0  # for what is left to parse when the engine has stopped
BEAT_S = 1.0
IDLE_BEAT_S = 5.0  # a third of the silence that the daemon takes for death


class Host:
    """One model in this process, from its ``Load`` to its ``Stop``.

    :meth:`receive` is for the thread that reads, :meth:`run` for the engine thread, :meth:`pulse`
    for a third.
    """

    def __init__(self, outbox: Outbox, *, native_log_level: int, kernels: bool = True) -> None:
        """``native_log_level`` and ``kernels`` as ``rn_init`` takes them."""
        self._outbox = outbox
        self._open_library = partial(open_library, log_level=native_log_level, kernels=kernels)
        self._inbox = Inbox()
        self._library: binding.Library | None = None
        self._watch = binding.LoadWatch()
        self._state = threading.Lock()  # progress is told before, beats are told after ``Ready``
        self._engine: Engine | None = None
        self._has_gpu = False
        self._is_stopping = False
        self._beat_s = 0.0  # when the next one is due
        self._ended = threading.Event()

    def receive(self, message: Request | Cancel | Tune | Stop) -> None:
        """Take a message that came after ``Load``. Never waits for the engine."""
        match message:
            case Submit() | Ask() | Embed() | Rank():
                self._submit(message)
            case Cancel():
                self._cancel(message)
            case Tune():
                self._inbox.put(message)
            case Stop():
                self._is_stopping = True
                self._stop(message)

    def run(self, message: Load) -> bool:
        """Load and serve until stopped; False when the load failed."""
        try:
            self._library = self._open_library(message.library_path)
            loaded = load(message, self._library, self._watch)
        except RunnerError as error:
            self._fail_load(error)
            return False
        if isinstance(loaded, LoadedPool):
            engine = self._assemble_pool(loaded, message)
        else:
            engine = self._assemble(loaded, message)
        engine.preparer.start()
        gc.freeze()  # what is loaded stays: no collection need walk it between two steps
        self._has_gpu = loaded.ready.device is not None
        with self._state:
            self._engine = engine
            self._outbox.send(loaded.ready)
        LOG.info("loaded in %.1f s: %s", loaded.ready.load_ms / 1000, loaded.ready.settings)
        engine.loop.run()
        if engine.parsing is not None:
            engine.parsing.finish(PARSE_S)
        if engine.keep_prefixes is not None:
            engine.keep_prefixes()
        return True

    def pulse(self) -> None:
        """Tell of progress while loading and that we live afterwards, until :meth:`close`.

        An idle engine costs a look each :data:`IDLE_BEAT_S`; the first request wakes this thread.
        """
        told = 0.0
        while self._engine is None and not self._ended.wait(PROGRESS_S):
            with self._state:
                if self._engine is None and self._watch.fraction > told:
                    told = self._watch.fraction
                    self._outbox.send(LoadProgress(fraction=told))
            self._drain_native_log()
        engine = self._engine
        while engine is not None and not self._ended.is_set():
            engine.loop.stirred.clear()  # before looking: what comes behind it wakes us again
            engine.loop.stirred.wait(self._look(engine))

    def _look(self, engine: Engine) -> float:
        """Follow the neighbours, beat when it is time; return how long nothing else is due."""
        is_busy = engine.loop.is_busy
        adapt_threads(engine)
        now_s = time.monotonic()
        if now_s >= self._beat_s or not is_busy:
            self._beat_s = now_s + BEAT_S
            beat = engine.loop.beat(
                cells_total=engine.total_cells,
                resident_bytes=resident_bytes(),
                threads=engine.backend.threads,
            )
            self._outbox.send(structs.replace(beat, device=self._device_memory()))
            self._drain_native_log()
        return LOOK_S if is_busy else IDLE_BEAT_S

    def _device_memory(self) -> DeviceMemory | None:
        if self._library is None or not self._has_gpu:
            return None
        return device_memory(self._library.system()["devices"])

    def close(self) -> None:
        """End :meth:`pulse` (at its next look); write the rest of the native log."""
        self._ended.set()
        self._drain_native_log()

    # ---- requests ------------------------------------------------------------------------------

    def _submit(self, submit: Request) -> None:
        engine = self._engine
        if engine is None or self._is_stopping:
            self._refuse(submit.id, Kind.UNAVAILABLE, "the model is being unloaded")
        elif not isinstance(submit, engine.takes):
            self._refuse(submit.id, Kind.MODEL_NOT_SUPPORTED, "the model is not of this kind")
        elif len(engine.preparer) >= engine.max_preparing:
            self._refuse(submit.id, Kind.BUSY, "too many requests are waiting for this model")
        else:
            engine.preparer.submit(submit)
            if isinstance(submit, Submit) and engine.tuner is not None:
                engine.tuner.interrupt()

    def _cancel(self, cancel: Cancel) -> None:
        engine = self._engine
        if engine is None:
            return
        # In the order in which a request passes them.
        if engine.preparer.cancel(cancel.id) or (
            engine.encoding is not None and engine.encoding.cancel(cancel.id)
        ):
            self._refuse(cancel.id, Kind.CANCELLED, "the request was cancelled")
        else:
            self._inbox.put(cancel)

    def _stop(self, stop: Stop) -> None:
        self._watch.cancel()
        if self._engine is None:
            self._inbox.put(stop)  # found there if the load comes to its end nevertheless
        else:
            self._engine.loop.stop(stop)
            if self._engine.tuner is not None:
                self._engine.tuner.interrupt()

    def _refuse(self, id: int, kind: Kind, message: str) -> None:
        self._outbox.emit([Failed(id, kind.value, message)])

    # ---- the engine thread ---------------------------------------------------------------------

    def _fail_load(self, error: RunnerError) -> None:
        LOG.error("the load failed: %s", error)
        with self._state:
            self._outbox.send(
                LoadFailed(kind=error.kind.value, message=error.message, hint=error.hint)
            )

    def _assemble(self, loaded: Loaded, message: Load) -> Engine:
        settings = loaded.ready.settings
        scheduler = Scheduler(
            choosing.capacity(settings, **loaded.memory),
            choosing.policy(settings),
        )
        files = open_prefix_files(message, loaded)
        encoding = Encoding(
            deliver=self._inbox.put,
            refuse=lambda failed: self._outbox.emit([failed]),
            discard=partial(discard, loaded.context),
        )
        if loaded.seeing is not None:
            threading.Thread(target=encoding.run, name="encode", daemon=True).start()
        preparer = self._make_preparer(loaded, files, encoding)
        backend = LlamaBackend(
            loaded.context,
            threads=settings.threads,
            threads_batch=settings.threads_batch,
            adapters=loaded.adapters.usual,
        )
        tuner = make_tuner(loaded, message, send=self._outbox.send)
        parsing = Parsing(self._outbox.emit)
        threading.Thread(target=parsing.run, name="parse", daemon=True).start()
        loop = EngineLoop(
            scheduler,
            backend,
            self._inbox,
            translator=Translator(lambda token: loaded.model.piece(token, special=True)),
            emit=parsing.take,
            is_preparing=lambda: len(preparer) + len(encoding) > 0,
            open_parser=parsing.open,
            stock=partial(stock, scheduler.prefixes, backend.saved),
            pastime=tuner,
        )
        limit = settings.parallel + settings.max_queue
        neighbours = None
        if message.wishes.threads is None:
            neighbours = Neighbours(cpus=count_cpus(), most=backend.threads)
        keep_prefixes = (
            None if files is None else partial(keep, files, scheduler.prefixes, backend.saved)
        )
        return Engine(
            loop,
            (Submit, Ask),
            backend,
            neighbours,
            preparer,
            tuner,
            limit,
            settings.total_cells,
            keep_prefixes,
            parsing,
            encoding,
        )

    def _assemble_pool(self, loaded: LoadedPool, message: Load) -> Engine:
        settings, native = loaded.ready.settings, loaded.embedder.info
        limit = settings.parallel + settings.max_queue
        preparer: Preparer[Embed | Rank, Texts] = Preparer(
            pooling_prompter(loaded).prepare,
            answer=Answerer(asking_prompter(loaded), loaded.model).answer,
            deliver=self._inbox.put,
            tell=lambda answered: self._outbox.emit([answered]),
            refuse=lambda failed: self._outbox.emit([failed]),
            discard=lambda texts: None,
            give_up=self._give_up,
        )
        pool = Pool(loaded.embedder, threads=settings.threads, width=native.n_out)
        loop = PoolingLoop(
            pool,
            Packer(rows=pass_rows(settings), texts=settings.parallel),
            self._inbox,
            emit=self._outbox.emit,
            send=self._outbox.send,
            is_preparing=lambda: len(preparer) > 0,
            max_jobs=limit,
        )
        neighbours = None
        if message.wishes.threads is None:
            neighbours = Neighbours(cpus=count_cpus(), most=pool.threads)
        cells = settings.total_cells
        takes = (Embed, Rank, Ask)
        return Engine(loop, takes, pool, neighbours, preparer, None, limit, cells, None)

    def _make_preparer(
        self, loaded: Loaded, files: PrefixFiles | None, encoding: Encoding
    ) -> Preparer[Submit, Prepared]:
        info = loaded.model.info()
        prompter = Prompter(
            tokenizer=PrefixTokenizer(loaded.model),
            conversations=loaded.conversations,
            no_template=loaded.no_template,
            generators=loaded.context,
            adapters=loaded.adapters,
            context_size=loaded.ready.settings.context_size,
            penalty_tokens=loaded.penalty_tokens,
            vocabulary=loaded.ready.model.vocabulary,
            token_bytes=info["token_bytes"],
            infill=find_infill(info),
            seeing=loaded.seeing,
        )
        answerer = Answerer(prompter, loaded.model)
        return Preparer(
            prompter.prepare if files is None else with_stored(prompter.prepare, files),
            answer=answerer.answer,
            deliver=encoding.take,
            tell=lambda answered: self._outbox.emit([answered]),
            refuse=lambda failed: self._outbox.emit([failed]),
            discard=partial(discard, loaded.context),
            give_up=self._give_up,
        )

    def _give_up(self) -> None:
        LOG.error("too many threads hang in the chat template: stopping")
        self.receive(Stop(grace_s=0.0))

    def _drain_native_log(self) -> None:
        if self._library is None:
            return
        for line in self._library.drain_log():
            LOG.log(NATIVE_LEVELS.get(line["level"], logging.DEBUG), "%s", line["text"])


def discard(context: binding.Context, prepared: Prepared) -> None:
    """Free what a request holds that nobody wants any more."""
    if prepared.request.generator is not None:
        context.free_generator(prepared.request.generator)
    if prepared.parser is not None:
        prepared.parser.close()
    if prepared.media is not None:
        prepared.media.parts.close()
