"""Requests to a real worker with the embedded model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Literal

import pytest
from msgspec.structs import replace

from runner.wire.messages import (
    Beat,
    Begun,
    Cancel,
    Ended,
    Failed,
    Piece,
    Ready,
    Sampling,
    Submit,
)
from tests.process.worker_client import WISHES, WorkerClient, chat, model_path, text

pytestmark = [pytest.mark.native, pytest.mark.model]

STORY = "Once upon a time, in a small village by the sea, there lived a girl named"
new_id = count(1).__next__


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[WorkerClient, Ready]]:
    with WorkerClient() as client:
        client.load(model_path())
        yield client, client.wait_for(Ready)


@pytest.fixture
def worker(loaded: tuple[WorkerClient, Ready]) -> WorkerClient:
    return loaded[0]


def ended(worker: WorkerClient, submit: Submit) -> Ended:
    worker.send(submit)
    [event] = worker.wait_for_last(submit.id)
    assert isinstance(event, Ended), event
    return event


def failed(worker: WorkerClient, submit: Submit) -> Failed:
    worker.send(submit)
    [event] = worker.wait_for_last(submit.id)
    assert isinstance(event, Failed), event
    return event


def begun(worker: WorkerClient, id: int) -> Begun:
    event = worker.log[id][0]
    assert isinstance(event, Begun)
    return event


def test_ready_tells_what_was_loaded_and_how(loaded: tuple[WorkerClient, Ready]) -> None:
    worker, ready = loaded
    assert ready.pid == worker.process.pid
    assert (ready.model.architecture, ready.model.parameters) == ("llama", 134_515_008)
    assert (ready.model.context_train, ready.model.vocabulary) == (8192, 49152)
    assert (ready.model.has_chat_template, ready.model.pooling) == (True, False)
    assert "<|im_start|>" in ready.model.chat_template
    assert (ready.settings.context_size, ready.settings.parallel) == (256, WISHES.parallel)
    assert (ready.settings.flash_attention, ready.settings.kv_layout) == (False, "streams")
    assert ready.settings.threads >= 1
    assert "CPU" in ready.system_info
    assert ready.load_ms > 0


def test_a_beat_comes_by_itself(worker: WorkerClient) -> None:
    beat = worker.wait_for(Beat)
    assert beat.resident_bytes > 50 * 1024**2
    assert (beat.running, beat.waiting) == (0, 0)


def test_a_chat_is_answered_piece_by_piece(worker: WorkerClient) -> None:
    id = new_id()
    event = ended(worker, chat(id, "Say hello.", max_tokens=12))
    pieces = [event for event in worker.log[id] if isinstance(event, Piece)]
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces).strip()
    assert event.completion_tokens <= 12
    assert event.timings.prompt_ms > 0
    assert event.timings.predicted_n == event.completion_tokens


def test_the_same_prompt_comes_from_the_cache_with_the_same_text(worker: WorkerClient) -> None:
    first, second, private = new_id(), new_id(), new_id()
    length = ended(worker, text(first, STORY, max_tokens=12)).prompt_tokens
    assert ended(worker, text(second, STORY, max_tokens=12)).cached_tokens == length - 1
    event = ended(worker, text(private, STORY, max_tokens=12, cache_prompt=False))
    assert event.cached_tokens == 0
    assert worker.text(first) == worker.text(second) == worker.text(private)


def test_equal_prompts_that_come_together_are_computed_once(worker: WorkerClient) -> None:
    ids = [new_id() for _ in range(4)]
    prompt = "The quick brown fox jumps over the lazy dog. " * 9
    for id in ids:
        worker.send(text(id, prompt, max_tokens=4))
    worker.wait_for_last(*ids)
    length = begun(worker, ids[0]).prompt_tokens
    cached = sorted(begun(worker, id).cached_tokens for id in ids)
    assert cached == [0, length - 1, length - 1, length - 1]
    assert len({worker.text(id) for id in ids}) == 1


@pytest.mark.parametrize("layout", ["streams", "unified"])
def test_a_text_that_lost_its_slot_comes_back_from_memory_with_the_same_answer(
    layout: Literal["streams", "unified"],
) -> None:
    limit_bytes = 64 * 1024**2
    # The shape in which a row's attention has the same bits wherever its cells lie.
    exact = replace(WISHES, flash_attention=True, threads=1)
    wishes = replace(exact, parallel=1, kv_layout=layout, prefix_ram_bytes=limit_bytes)
    prompts = [f"Story number {n}: {STORY} Ann. " * 4 for n in range(5)]
    with WorkerClient() as worker:
        worker.load(model_path(), wishes)
        worker.wait_for(Ready)
        for n, prompt in enumerate(prompts):
            assert ended(worker, text(n, prompt, max_tokens=6)).cached_tokens < 16
            # From its slot: a lone row is computed by other kernels than the end of a prompt.
            ended(worker, text(100 + n, prompt, max_tokens=6))
        for n, prompt in enumerate(prompts):
            event = ended(worker, text(200 + n, prompt, max_tokens=6))
            assert event.cached_tokens == event.prompt_tokens - 1
            assert worker.text(200 + n) == worker.text(100 + n)
        assert 0 < worker.wait_for(Beat).prefix_ram_bytes <= limit_bytes


def test_a_stop_string_ends_the_text_and_is_named(worker: WorkerClient) -> None:
    whole, cut = new_id(), new_id()
    ended(worker, text(whole, STORY, max_tokens=8))
    word = worker.text(whole)[6:9]
    event = ended(worker, text(cut, STORY, max_tokens=8, stop=("\u2603", word)))
    assert (event.reason, event.stopping_word) == ("stop", word)
    assert worker.text(cut) == worker.text(whole)[: worker.text(whole).index(word)]


def test_zero_tokens_compute_the_prompt_alone(worker: WorkerClient) -> None:
    id = new_id()
    event = ended(worker, text(id, "Hello", max_tokens=0))
    assert (event.reason, event.completion_tokens) == ("length", 0)
    assert [type(event) for event in worker.log[id]] == [Begun, Ended]


def test_a_text_ends_where_the_context_is_full(worker: WorkerClient) -> None:
    id = new_id()
    prompt = "word " * 245
    event = ended(worker, text(id, prompt, sampling=Sampling(temperature=0.0, ignore_eos=True)))
    assert event.reason == "context"
    assert event.prompt_tokens + event.completion_tokens == 257


def test_log_probabilities_come_with_the_bytes_of_their_tokens(worker: WorkerClient) -> None:
    id = new_id()
    sampling = Sampling(temperature=0.0, top_logprobs=3)
    ended(worker, text(id, STORY, max_tokens=3, sampling=sampling))
    logprobs = [
        one for event in worker.log[id] if isinstance(event, Piece) for one in event.logprobs
    ]
    assert b"".join(one.piece for one in logprobs).decode() == worker.text(id)
    for one in logprobs:
        assert len(one.top) == 3
        assert one.top[0][0] == one.token  # greedy: the best was taken
        assert one.top[0][2] == pytest.approx(one.logprob)


def test_a_json_schema_is_kept(worker: WorkerClient) -> None:
    id = new_id()
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema["additionalProperties"] = False
    sampling = Sampling(temperature=0.0, json_schema=json.dumps(schema))
    event = ended(worker, chat(id, "Is water wet?", max_tokens=40, sampling=sampling))
    assert event.reason == "eos"
    assert json.loads(worker.text(id)) in ({"a": True}, {"a": False})


def test_a_schema_that_is_none_is_the_requests_fault(worker: WorkerClient) -> None:
    sampling = Sampling(json_schema='{"type":"nonsense"}')
    event = failed(worker, text(new_id(), "a", sampling=sampling))
    assert (event.kind, event.param) == ("invalid_request", "response_format")


def test_a_prompt_over_the_context_names_both_numbers(worker: WorkerClient) -> None:
    event = failed(worker, text(new_id(), "word " * 600))
    assert event.kind == "context_length_exceeded"
    assert event.details["n_ctx"] == 256
    assert event.details["n_prompt_tokens"] > 600
    assert "--context-size" in (event.hint or "")


def test_a_cancel_ends_a_stream_and_nothing_else(worker: WorkerClient) -> None:
    gone, stays = new_id(), new_id()
    sampling = Sampling(temperature=0.0, ignore_eos=True)
    worker.send(text(gone, STORY, sampling=sampling))
    worker.send(text(stays, "The sky is", max_tokens=12))
    worker.wait_for_text(gone)
    worker.send(Cancel(id=gone))
    first, second = worker.wait_for_last(gone, stays)
    assert isinstance(first, Failed)
    assert first.kind == "cancelled"
    assert isinstance(second, Ended)


def test_a_deadline_ends_a_stream(worker: WorkerClient) -> None:
    sampling = Sampling(temperature=0.0, ignore_eos=True)
    event = failed(worker, text(new_id(), STORY, deadline_s=0.2, sampling=sampling))
    assert event.kind == "timeout"
