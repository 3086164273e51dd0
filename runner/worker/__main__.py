"""Entry of the worker process: claims the pipe, starts threads, reads until the parent is gone."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from runner.wire import FrameError, to_worker_decoder
from runner.wire.messages import Load, Stop, ToWorker
from runner.worker.host import Host
from runner.worker.outbox import Outbox
from runner.worker.process import Pipe, bind_to_parent

FLUSH_S = 5.0  # for the last events, should the daemon read slowly
SWITCH_S = 0.001  # how long another thread may keep the engine thread from the interpreter
NATIVE_LOG_LEVELS = {"debug": 5, "error": 1}  # llama.cpp's info lines are for debugging ours

LOG = logging.getLogger("runner.worker")


def main() -> NoReturn:
    """Run the worker; never returns."""
    pipe = Pipe.claim()
    bind_to_parent()
    level = os.environ.get("RUNNER_LOG_LEVEL", "info").lower()
    logging.basicConfig(
        level=logging.DEBUG if level == "debug" else logging.INFO,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    sys.setswitchinterval(SWITCH_S)
    outbox = Outbox(pipe.write)
    # "off": llama.cpp's own kernels, for comparison.
    kernels = os.environ.get("RUNNER_KERNELS") != "off"
    host = Host(outbox, native_log_level=NATIVE_LOG_LEVELS.get(level, 2), kernels=kernels)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops us
    signal.signal(signal.SIGTERM, lambda *_: host.receive(Stop(grace_s=0.0)))
    _start(lambda: _write(outbox), "write")
    _start(host.pulse, "pulse")
    try:
        _read(pipe, host, outbox)
    except FrameError as error:
        LOG.error("the daemon broke the protocol: %s", error)
        _exit(2)
    _exit(0)  # the parent is gone: nobody wants what still runs


def _read(pipe: Pipe, host: Host, outbox: Outbox) -> None:
    """Pass messages on until the end of input. Raises FrameError."""
    messages = _messages(pipe)
    first = next(messages, None)
    if first is None:
        return
    if not isinstance(first, Load):
        raise FrameError(f"expected Load first, got {type(first).__name__}")
    _start(partial(_run, host, outbox, first), "engine")
    for message in messages:
        if isinstance(message, Load):
            raise FrameError("expected one Load, got another")
        host.receive(message)
        outbox.wait_for_room()


def _messages(pipe: Pipe) -> Iterator[ToWorker]:
    decoder = to_worker_decoder()
    while data := pipe.read():
        yield from decoder.feed(data)


def _write(outbox: Outbox) -> None:
    try:
        outbox.run()
    except OSError as error:
        LOG.error("the daemon does not listen any more: %s", error)
        _exit(0)


def _run(host: Host, outbox: Outbox, load: Load) -> None:
    code = 1
    try:
        code = 0 if host.run(load) else 1
    except Exception:
        LOG.exception("the engine broke")
    host.close()
    outbox.close(FLUSH_S)
    _exit(code)


def _exit(code: int) -> NoReturn:
    """Leave without the interpreter's farewell: native threads may still be at work."""
    sys.stderr.flush()
    os._exit(code)


def _start(target: Callable[[], object], name: str) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()


if __name__ == "__main__":
    main()
