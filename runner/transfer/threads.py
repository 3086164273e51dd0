"""The threads of one transfer: several at work, one listener, and one that may be left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from runner.errors import Kind, RunnerError
from runner.transfer.progress import Event, Listen

A = TypeVar("A")
T = TypeVar("T")


def one_at_a_time(listen: Listen) -> Listen:
    """Return a listener that several threads may call, for one that expects one call at a time."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            listen(event)

    return tell


def in_parallel(
    action: Callable[[A], T],
    items: Sequence[A],
    *,
    at_once: int,
    stop: threading.Event,
    name: str,
) -> list[T]:
    """Do it for all items, some at a time; return the results in their order.

    The first failure sets ``stop``, by which ``action`` is to end soon; when all have ended, what
    failed is raised, and not what that stopped. ``name`` is the threads'.
    """

    def attempt(item: A) -> T:
        try:
            if stop.is_set():
                raise RunnerError(Kind.CANCELLED, "another part of the transfer failed")
            return action(item)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix=name) as pool:
        futures = [pool.submit(attempt, item) for item in items]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C in a program that has no daemon
            stop.set()
            raise
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise min(errors, key=_is_cancellation)
    return [future.result() for future in futures]


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns, or raise what it raises; RunnerError when it takes too long.

    It then goes on in its thread until its own time limits, and nobody listens.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="ask", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise RunnerError(
            Kind.REGISTRY_UNAVAILABLE,
            f"its registry did not answer within {seconds:g} s",
            hint="check the connection",
        ) from error


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, RunnerError) and error.kind is Kind.CANCELLED
