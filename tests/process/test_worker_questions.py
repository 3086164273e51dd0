"""Questions to a real worker with the embedded model: its vocabulary and its template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runner.wire.messages import (
    Answered,
    Ask,
    ChatPrompt,
    Detokenize,
    Ended,
    Failed,
    InfillPrompt,
    Ready,
    Sampling,
    Submit,
    Tokenize,
    TokenPrompt,
)
from tests.process.worker_client import WorkerClient, chat, model_path, text
from tests.support.state_models import INFILL_TOKENS, write_infill_model

pytestmark = [pytest.mark.native, pytest.mark.model]

BOS = 1  # of the model of random weights

new_id = count(1).__next__


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        client.load(model_path())
        client.wait_for(Ready)
        yield client


def ask(worker: WorkerClient, question: Any) -> Answered | Failed:
    id = new_id()
    worker.send(Ask(id=id, question=question))
    [event] = worker.wait_for_last(id)
    assert isinstance(event, Answered | Failed)
    return event


def answered(worker: WorkerClient, question: Any) -> Answered:
    event = ask(worker, question)
    assert isinstance(event, Answered), event
    return event


def test_text_survives_tokens_and_back(worker: WorkerClient) -> None:
    content = "naïve 東京 🙂 <|im_start|>"
    asked = Tokenize(text=content, add_special=False, parse_special=True, with_pieces=True)
    tokenized = answered(worker, asked)
    assert b"".join(tokenized.pieces).decode() == content
    assert tokenized.tokens[-1] == 1
    assert answered(worker, Detokenize(tokens=tokenized.tokens)).text == content


def test_a_conversation_costs_the_tokens_that_were_told(worker: WorkerClient) -> None:
    messages = json.dumps([{"role": "user", "content": "Hi"}])
    told = answered(worker, ChatPrompt(messages_json=messages))
    assert told.text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    submit = chat(new_id(), "Hi", max_tokens=1)
    worker.send(submit)
    [ended] = worker.wait_for_last(submit.id)
    assert isinstance(ended, Ended)
    assert ended.prompt_tokens == len(told.tokens)


def test_tokens_are_completed_as_their_text_is(worker: WorkerClient) -> None:
    story = "Once upon a time"
    tokens = answered(worker, Tokenize(text=story, add_special=True, parse_special=True)).tokens
    by_text = text(new_id(), story, max_tokens=8)
    by_tokens = Submit(
        id=new_id(),
        prompt=TokenPrompt(tokens=tokens),
        sampling=Sampling(temperature=0.0),
        max_tokens=8,
    )
    for submit in (by_text, by_tokens):
        worker.send(submit)
        worker.wait_for_last(submit.id)
    assert worker.text(by_tokens.id) == worker.text(by_text.id) != ""


def test_a_gap_is_asked_for_and_filled_with_the_model_s_own_tokens(tmp_path: Path) -> None:
    prompt = InfillPrompt(prefix="a", suffix="b", start="c")
    prefix, suffix, middle = INFILL_TOKENS
    submit = Submit(id=2, prompt=prompt, sampling=Sampling(temperature=0.0), max_tokens=4)
    with WorkerClient() as client:
        client.load(write_infill_model(tmp_path))
        client.wait_for(Ready)
        client.send(Ask(id=1, question=prompt))
        client.send(submit)
        told, ended = client.wait_for_last(1, 2)
    assert isinstance(told, Answered)
    a, b, c = (3 + ord(letter) for letter in "abc")
    assert told.tokens == (BOS, prefix, a, suffix, b, middle, c)
    assert isinstance(ended, Ended)
    assert (ended.prompt_tokens, ended.completion_tokens) == (len(told.tokens), 4)


@pytest.mark.parametrize(
    ("question", "kind", "param"),
    [
        (Detokenize(tokens=(49152,)), "invalid_request", "tokens"),
        (TokenPrompt(tokens=(-1,)), "invalid_request", "prompt"),
        (InfillPrompt(prefix="a", suffix="b"), "model_not_supported", "suffix"),
    ],
    ids=["detokenize", "tokens", "infill"],
)
def test_what_the_model_cannot_is_told(
    worker: WorkerClient, question: Any, kind: str, param: str
) -> None:
    failed = ask(worker, question)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.param) == (kind, param)
