"""A real child process on real pipes: what the parent's side promises whatever the child does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.supervise import Command, Completion, Patience, Worker
from runner.wire.messages import (
    Begun,
    Ended,
    EngineWishes,
    Event,
    Failed,
    Load,
    Measured,
    Piece,
    Sampling,
    Submit,
    TextPrompt,
    Tuned,
)

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "support" / "fake_worker.py"
LOAD = Load(version=1, model_path="/model.gguf", library_path=None, wishes=EngineWishes())
PATIENT = Patience(stall_s=20, silence_s=20, step_s=20, input_s=20, exit_s=5)


def fake(*arguments: str) -> Command:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Command((sys.executable, str(FAKE), *arguments), environment)


def ask(text: str) -> Submit:
    return Submit(id=0, prompt=TextPrompt(text=text), sampling=Sampling())


async def fold(completion: Completion) -> list[Event]:
    return [event async for event in completion]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


@asynccontextmanager
async def started(*arguments: str, patience: Patience = PATIENT) -> AsyncIterator[Worker]:
    worker = await Worker.start(LOAD, command=fake(*arguments), patience=patience)
    try:
        yield worker
    finally:
        await worker.stop(0)
        assert is_gone(worker.pid)


def is_gone(pid: int) -> bool:
    """Whether a pid is free: a zombie is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def in_loop(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene in a loop of its own, and see that no task stays behind."""

    async def play() -> None:
        await scene()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = set(Path("/proc/self/fd").iterdir())
    asyncio.run(play(), debug=True)
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_load_reports_progress_then_what_was_loaded() -> None:
    async def scene() -> None:
        seen: list[float] = []
        worker = await Worker.start(
            LOAD, command=fake("--load", "steps 4"), on_progress=seen.append, patience=PATIENT
        )
        assert seen == [0.25, 0.5, 0.75, 1.0]
        assert worker.ready.pid == worker.pid
        assert worker.ready.model.architecture == "fake"
        assert (await worker.stop(0)).expected
        assert is_gone(worker.pid)

    in_loop(scene)


def test_a_request_gives_its_events_in_order_and_one_last() -> None:
    async def scene() -> None:
        async with started() as worker:
            events = await fold(worker.submit(ask("tokens 3")))
            assert isinstance(events[0], Begun)
            assert text_of(events) == "0 1 2 "
            assert isinstance(events[-1], Ended)
            assert sum(isinstance(event, Ended | Failed) for event in events) == 1

    in_loop(scene)


def test_requests_at_the_same_time_do_not_mix() -> None:
    async def scene() -> None:
        async with started() as worker:
            counts = [1, 5, 50, 500]
            answers = await asyncio.gather(
                *(fold(worker.submit(ask(f"tokens {count}"))) for count in counts)
            )
            for count, events in zip(counts, answers, strict=True):
                assert text_of(events) == "".join(f"{index} " for index in range(count))

    in_loop(scene)


def test_e13_a_slow_consumer_gets_longer_pieces_not_more_of_them() -> None:
    async def scene() -> None:
        async with started() as worker:
            slow = worker.submit(ask("tokens 400"))
            await fold(worker.submit(ask("tokens 1")))  # answered after it: all is in the mailbox
            begun, piece, last = await fold(slow)
            assert isinstance(begun, Begun)
            assert isinstance(piece, Piece)
            assert piece.tokens == 400
            assert piece.text.endswith("398 399 ")
            assert isinstance(last, Ended)

    in_loop(scene)


def test_cancel_ends_the_stream_with_a_cancelled_failure() -> None:
    async def scene() -> None:
        async with started() as worker:
            completion = worker.submit(ask("forever"))
            assert isinstance(await anext(completion), Begun)
            completion.cancel()
            completion.cancel()
            events = await fold(completion)
            assert isinstance(events[-1], Failed)
            assert events[-1].kind == Kind.CANCELLED

    in_loop(scene)


def test_leaving_early_cancels_and_the_worker_serves_on() -> None:
    async def scene() -> None:
        async with started() as worker:
            async with worker.submit(ask("forever")) as completion:
                await anext(completion)
            while worker.beat is None or worker.beat.running or not completion.ended:
                await fold(worker.submit(ask("tokens 1")))
            assert [event async for event in completion] == []

    in_loop(scene)


def test_a_consumer_cancelled_in_its_wait_loses_nothing() -> None:
    async def scene() -> None:
        async with started() as worker, worker.submit(ask("hold")) as completion:
            await anext(completion)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(completion), 0.001)
            assert not completion.ended
            completion.cancel()
            assert [type(event) for event in await fold(completion)] == [Failed]

    in_loop(scene)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SIGKILL", "memory ran out"),
        ("SIGSEGV", "memory fault"),
        ("SIGABRT", "internal error"),
        ("SIGILL", "this CPU does not have"),
    ],
)
def test_e8_a_death_by_signal_fails_every_open_request_once_and_says_why(
    name: str, words: str
) -> None:
    async def scene() -> None:
        async with started() as worker:
            others = [worker.submit(ask("hold")) for _ in range(3)]
            answers = [await fold(worker.submit(ask(f"signal {name}")))]
            answers += [await fold(other) for other in others]
            assert text_of(answers[0]) == "half"
            for events in answers:
                *_, last = events
                assert isinstance(last, Failed)
                assert last.kind == Kind.ENGINE_CRASHED
                assert words in last.message
                assert last.details["signal"] == name
                assert not any(isinstance(event, Ended | Failed) for event in events[:-1])
            assert not (await worker.wait()).expected
            assert not worker.is_alive

    in_loop(scene)


def test_an_illegal_instruction_names_the_rebuild() -> None:
    async def scene() -> None:
        async with started() as worker:
            *_, last = await fold(worker.submit(ask("signal SIGILL")))
            assert isinstance(last, Failed)
            assert "build_native.py --portable" in (last.hint or "")

    in_loop(scene)


def test_an_exit_keeps_its_code_and_last_words() -> None:
    async def scene() -> None:
        async with started() as worker:
            *_, last = await fold(worker.submit(ask("exit 3")))
            assert isinstance(last, Failed)
            assert last.details == {"exit_code": 3, "stderr": ["last words"]}

    in_loop(scene)


def test_a_dead_worker_fails_new_requests_at_once() -> None:
    async def scene() -> None:
        async with started() as worker:
            await fold(worker.submit(ask("exit 0")))
            (last,) = await fold(worker.submit(ask("tokens 1")))
            assert isinstance(last, Failed)
            assert last.kind == Kind.ENGINE_CRASHED

    in_loop(scene)


@pytest.mark.parametrize(
    ("request_text", "patience", "words"),
    [
        ("silence", Patience(silence_s=0.4), "no sign of life for 0.4 s"),
        ("step 99", Patience(step_s=10), "one step has run for more than 10 s"),
    ],
)
def test_e9_a_hung_worker_is_killed_and_its_requests_time_out(
    request_text: str, patience: Patience, words: str
) -> None:
    async def scene() -> None:
        async with started(patience=patience) as worker:
            *_, last = await fold(worker.submit(ask(request_text)))
            assert isinstance(last, Failed)
            assert last.kind == Kind.TIMEOUT
            assert words in last.message
            assert (await worker.wait()).kind is Kind.TIMEOUT
            assert is_gone(worker.pid)

    in_loop(scene)


def test_e9_a_worker_that_reads_no_input_is_killed_and_never_blocks_the_loop() -> None:
    async def scene() -> None:
        patience = Patience(input_s=0.2, exit_s=5)
        async with started(patience=patience) as worker:
            deaf = worker.submit(ask("deaf"))
            await anext(deaf)
            flood = [worker.submit(ask("mute " + "x" * 1_000_000)) for _ in range(4)]
            for completion in (deaf, *flood):
                *_, last = await fold(completion)
                assert isinstance(last, Failed)
                assert last.kind == Kind.TIMEOUT
                assert "read no input" in last.message

    in_loop(scene)


@pytest.mark.parametrize("request_text", ["garbage", "unknown", "twice", "again", "close"])
def test_a_babbling_worker_is_killed_and_its_requests_fail_once(request_text: str) -> None:
    async def scene() -> None:
        async with started(patience=Patience(exit_s=0.1)) as worker:
            bystander = worker.submit(ask("hold"))
            await fold(worker.submit(ask(request_text)))
            *_, last = await fold(bystander)
            assert isinstance(last, Failed)
            assert last.kind == Kind.ENGINE_CRASHED
            assert "broke the protocol" in last.message
            await worker.wait()

    in_loop(scene)


def test_e10_a_gigabyte_of_stderr_is_drained_bounded_and_its_end_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="runner.worker")

    async def scene() -> None:
        async with started() as worker:
            events = await fold(worker.submit(ask("stderr 1000000000")))
            assert isinstance(events[-1], Ended)
            *_, last = await fold(worker.submit(ask("signal SIGSEGV")))
            assert isinstance(last, Failed)
            tail = last.details["stderr"]
            assert "the very last line" in tail
            assert len(tail) <= 20

    began_s = time.monotonic()
    in_loop(scene)
    took_s = time.monotonic() - began_s
    logged = sum(len(record.getMessage()) for record in caplog.records)
    assert logged < 300_000 + 20_000 * took_s  # a burst, and then a rate
    assert any("over the rate limit" in record.getMessage() for record in caplog.records)


def test_a_failed_load_is_told_in_the_worker_s_words() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError) as caught:
            await Worker.start(LOAD, command=fake("--load", "fail invalid_model"), patience=PATIENT)
        assert caught.value.kind is Kind.INVALID_MODEL
        assert caught.value.message == "no such tensor"
        assert caught.value.hint == "get another"

    in_loop(scene)


def test_a_crash_while_loading_is_named() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError, match="memory fault") as caught:
            await Worker.start(LOAD, command=fake("--load", "signal SIGSEGV"), patience=PATIENT)
        assert caught.value.kind is Kind.ENGINE_CRASHED

    in_loop(scene)


def test_garbage_instead_of_a_handshake_is_a_broken_protocol() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError, match="broke the protocol"):
            await Worker.start(LOAD, command=fake("--load", "garbage"), patience=PATIENT)

    in_loop(scene)


def test_a_command_that_cannot_run_is_a_failed_load() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError, match="cannot start an engine process") as caught:
            await Worker.start(LOAD, command=Command(("/nowhere/python",), {}))
        assert caught.value.kind is Kind.LOAD_FAILED

    in_loop(scene)


def test_a_load_that_stalls_is_ended() -> None:
    async def scene() -> None:
        patience = Patience(stall_s=0.8)
        with pytest.raises(RunnerError, match=r"no progress for 0\.8 s") as caught:
            await Worker.start(LOAD, command=fake("--load", "stall"), patience=patience)
        assert caught.value.kind is Kind.TIMEOUT

    in_loop(scene)


def test_a_cancelled_start_ends_the_child() -> None:
    async def scene() -> None:
        reached = asyncio.Event()
        command = fake("--load", "stall")
        start = asyncio.create_task(
            Worker.start(LOAD, command=command, on_progress=lambda _: reached.set())
        )
        await reached.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    in_loop(scene)


def test_a_request_over_the_frame_limit_fails_alone() -> None:
    async def scene() -> None:
        async with started() as worker:
            (last,) = await fold(worker.submit(ask("x" * (64 * 1024 * 1024))))
            assert isinstance(last, Failed)
            assert last.kind == Kind.TOO_LARGE
            assert isinstance((await fold(worker.submit(ask("tokens 1"))))[-1], Ended)

    in_loop(scene)


def test_a_worker_that_leaves_far_too_much_unread_is_killed_at_once() -> None:
    async def scene() -> None:
        async with started() as worker:
            deaf = worker.submit(ask("deaf"))
            await anext(deaf)
            for _ in range(3):
                last_of_many = worker.submit(ask("mute " + "x" * 60_000_000))
            (last,) = await fold(last_of_many)
            assert isinstance(last, Failed)
            assert last.message == "the engine process reads no input"

    in_loop(scene)


def test_a_stopping_worker_takes_no_more_requests() -> None:
    async def scene() -> None:
        async with started("--ignore-stop") as worker:
            stopping = asyncio.create_task(worker.stop(0))
            await asyncio.sleep(0)
            (last,) = await fold(worker.submit(ask("tokens 1")))
            assert isinstance(last, Failed)
            assert last.kind == Kind.UNAVAILABLE
            os.kill(worker.pid, signal.SIGTERM)
            await stopping

    in_loop(scene)


def test_a_load_error_of_an_unknown_kind_is_a_failed_load() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError) as caught:
            await Worker.start(LOAD, command=fake("--load", "fail novel_kind"), patience=PATIENT)
        assert caught.value.kind is Kind.LOAD_FAILED

    in_loop(scene)


async def hear(worker: Worker, count: int) -> tuple[list[Measured | Tuned], Callable[[], None]]:
    """Ask for a search and wait for so many reports."""
    heard: asyncio.Queue[Measured | Tuned] = asyncio.Queue()
    leave = worker.tune(heard.put_nowait)
    return [await heard.get() for _ in range(count)], leave


def test_a_search_is_told_to_who_asks_and_to_the_service() -> None:
    async def scene() -> None:
        async with started() as worker:
            told: list[Measured | Tuned] = []
            worker.on_tuning = told.append
            heard, leave = await hear(worker, 2)
            leave()  # it is over: nothing is stopped
            assert [type(report) for report in heard] == [Measured, Tuned]
            assert told == heard
            assert text_of(await fold(worker.submit(ask("tokens 1")))) == "0 "

    in_loop(scene)


def test_a_second_one_who_asks_shares_the_search_and_the_last_to_leave_ends_it() -> None:
    async def scene() -> None:
        async with started("--tune", "hold") as worker:
            _, leave = await hear(worker, 1)
            _, leave_second = await hear(worker, 0)
            leave()
            leave()
            assert text_of(await fold(worker.submit(ask("tokens 1")))) == "0 "
            leave_second()
            assert (await worker.wait()).exit_code == 7  # as the fake answers a stop

    in_loop(scene)


def test_a_worker_that_dies_ends_its_search() -> None:
    async def scene() -> None:
        async with started("--tune", "die") as worker:
            (report,), _ = await hear(worker, 1)
            assert isinstance(report, Tuned)
            assert report.settings is None
            assert "7" in report.problem
            (later,), _ = await hear(worker, 1)
            assert later == report

    in_loop(scene)


def test_stop_fails_what_is_still_open() -> None:
    async def scene() -> None:
        async with started() as worker:
            completion = worker.submit(ask("hold"))
            await anext(completion)
            death = await worker.stop(0)
            assert death.expected
            (last,) = await fold(completion)
            assert isinstance(last, Failed)
            assert last.kind == Kind.UNAVAILABLE

    in_loop(scene)


def test_stop_ends_a_worker_that_ignores_every_polite_word() -> None:
    async def scene() -> None:
        patience = Patience(exit_s=0.1)
        worker = await Worker.start(
            LOAD, command=fake("--ignore-stop", "--ignore-term"), patience=patience
        )
        first, second = await asyncio.gather(worker.stop(0.1), worker.stop(0.1))
        assert first.expected
        assert second.expected
        assert is_gone(worker.pid)

    in_loop(scene)
