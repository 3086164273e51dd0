"""A real worker with tiny models that pool: vectors, ranks, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from runner.errors import Kind
from runner.wire.messages import (
    Answered,
    Ask,
    Beat,
    Cancel,
    Embed,
    EngineWishes,
    Event,
    Failed,
    Message,
    Pooled,
    Rank,
    Ready,
    Stop,
    Tokenize,
    Tune,
    Tuned,
)
from tests.process.worker_client import WorkerClient, text
from tests.support.embedded import require_library
from tests.support.pooling_models import CLS, CONTEXT, SEP, WIDTH, write_pooling_models

pytestmark = pytest.mark.native


@dataclass(frozen=True)
class Served:
    """A worker, and what it said of its model."""

    client: WorkerClient
    ready: Ready


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """A worker for each model, by the model's name."""
    require_library()
    paths = write_pooling_models(tmp_path_factory.mktemp("pooling"))
    with ExitStack() as stack:
        found = {}
        for name, path in paths.items():
            client = stack.enter_context(WorkerClient())
            client.load(path, EngineWishes(threads=1))
            found[name] = Served(client, client.wait_for(Ready))
        yield found


@pytest.fixture
def embedder(served: dict[str, Served]) -> WorkerClient:
    return served["embedding"].client


@pytest.fixture
def ranker(served: dict[str, Served]) -> WorkerClient:
    return served["reranker"].client


def ask(client: WorkerClient, request: Any) -> Event:
    client.log.pop(request.id, None)
    client.send(request)
    [event] = client.wait_for_last(request.id)
    return event


def rows(event: Event) -> Any:
    assert isinstance(event, Pooled), event
    return np.frombuffer(event.values, "<f4").reshape(-1, event.width)


def failure(event: Event) -> Failed:
    assert isinstance(event, Failed), event
    return event


def test_a_worker_says_what_its_model_does(served: dict[str, Served]) -> None:
    facts = served["embedding"].ready.model
    assert (facts.pooling, facts.reranks, facts.dimensions) == (True, False, WIDTH)
    facts = served["reranker"].ready.model
    assert (facts.pooling, facts.reranks, facts.dimensions) == (True, True, 0)
    settings = served["embedding"].ready.settings
    assert (settings.context_size, settings.batch_size) == (CONTEXT, 512)


def test_texts_and_tokens_give_vectors_of_length_one(embedder: WorkerClient) -> None:
    tokens = ask(
        embedder, Ask(id=9, question=Tokenize(text="a b", add_special=True, parse_special=True))
    )
    assert isinstance(tokens, Answered)
    answer = ask(embedder, Embed(id=1, inputs=("a b", tokens.tokens, "c")))
    assert isinstance(answer, Pooled)
    assert answer.tokens == (4, 4, 3)
    vectors = rows(answer)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-3)
    assert np.abs(vectors[0] - vectors[2]).max() > 0.01


def test_more_texts_than_a_pass_takes_come_in_order(embedder: WorkerClient) -> None:
    letters = [*"abcdefghij"] * 20
    many = rows(ask(embedder, Embed(id=1, inputs=tuple(letters))))
    alone = {letter: rows(ask(embedder, Embed(id=2, inputs=(letter,)))) for letter in letters[:10]}
    for letter, vector in zip(letters, many, strict=True):
        assert vector == pytest.approx(alone[letter][0], abs=1e-3)


def test_dimensions_and_norms(embedder: WorkerClient) -> None:
    raw = rows(ask(embedder, Embed(id=1, inputs=("a b c",), norm=-1)))[0]
    short = rows(ask(embedder, Embed(id=1, inputs=("a b c",), dimensions=8)))[0]
    assert short == pytest.approx(raw[:8] / np.linalg.norm(raw[:8]), abs=1e-4)
    taxicab = rows(ask(embedder, Embed(id=1, inputs=("a b c",), norm=1)))[0]
    assert np.abs(taxicab).sum() == pytest.approx(1, abs=1e-5)
    largest = rows(ask(embedder, Embed(id=1, inputs=("a b c",), norm=0)))[0]
    assert np.abs(largest).max() == pytest.approx(32760, rel=1e-5)
    error = failure(ask(embedder, Embed(id=1, inputs=("a",), dimensions=WIDTH + 1)))
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "dimensions")


def test_documents_are_ranked_with_their_query(ranker: WorkerClient) -> None:
    answer = ask(ranker, Rank(id=1, queries=("a b",), documents=("c", "d e", "c")))
    assert isinstance(answer, Pooled)
    assert answer.width == 1
    assert answer.tokens == (7, 8, 7)  # BOS a b EOS SEP c EOS
    ranks = rows(answer)[:, 0]
    assert ranks[0] == pytest.approx(ranks[2], abs=1e-3)
    other = rows(ask(ranker, Rank(id=1, queries=("z", "a b"), documents=("c", "c"))))[:, 0]
    assert other[1] == pytest.approx(ranks[0], abs=1e-3)
    assert abs(other[0] - ranks[0]) > 1e-3


def test_a_document_that_is_too_long_is_cut_where_that_is_asked(ranker: WorkerClient) -> None:
    room = CONTEXT - 6  # beside BOS a b EOS SEP and EOS
    whole = ("c", "d " * room + "x " * 500)
    cut = ask(ranker, Rank(id=1, queries=("a b",), documents=whole, truncate=True))
    same = ask(ranker, Rank(id=1, queries=("a b",), documents=("c", "d " * room)))
    assert isinstance(cut, Pooled) and isinstance(same, Pooled)
    assert cut.tokens == same.tokens == (7, CONTEXT)
    assert rows(cut)[:, 0] == pytest.approx(rows(same)[:, 0], abs=1e-3)
    # A query that leaves no room is refused, as it is nobody's wish to rank nothing.
    query = ("a " * CONTEXT,)
    error = failure(ask(ranker, Rank(id=1, queries=query, documents=("c",), truncate=True)))
    assert (error.kind, error.param) == (Kind.CONTEXT_LENGTH_EXCEEDED, "documents[0]")


def test_errors_call_inputs_as_the_client_does(embedder: WorkerClient) -> None:
    error = failure(ask(embedder, Embed(id=1, inputs=("a", "a " * CONTEXT), param="inputs")))
    assert error.param == "inputs[1]"
    assert error.message == f"inputs[1] has {CONTEXT + 2} tokens, and the model takes {CONTEXT}"


@pytest.mark.parametrize(
    ("request_", "kind", "param"),
    [
        (
            Embed(id=1, inputs=("a", "a " * CONTEXT)),
            Kind.CONTEXT_LENGTH_EXCEEDED,
            "input[1]",
        ),
        (Embed(id=1, inputs=((CLS, SEP), (9999,))), Kind.INVALID_REQUEST, "input[1]"),
        (Embed(id=1, inputs=((),)), Kind.INVALID_REQUEST, "input[0]"),
        (Rank(id=1, queries=("a",), documents=("b",)), Kind.MODEL_NOT_SUPPORTED, "model"),
        (text(1, "a"), Kind.MODEL_NOT_SUPPORTED, None),
    ],
    ids=["too_long", "no_such_token", "empty", "ranks", "text"],
)
def test_what_cannot_be_done_is_refused(
    embedder: WorkerClient, request_: Message, kind: Kind, param: str | None
) -> None:
    error = failure(ask(embedder, request_))
    assert (error.kind, error.param) == (kind, param)


def test_a_text_over_the_context_tells_its_index_and_both_numbers(embedder: WorkerClient) -> None:
    error = failure(ask(embedder, Embed(id=1, inputs=("a", "a " * CONTEXT))))
    assert error.details == {"index": 1, "n_prompt_tokens": CONTEXT + 2, "n_ctx": CONTEXT}


def test_nan_is_the_error_of_its_own_request_alone(served: dict[str, Served]) -> None:
    client = served["broken"].client
    client.log.clear()
    client.send(Embed(id=1, inputs=("a b", "a x")))
    client.send(Embed(id=2, inputs=("a b", "c d")))
    bad, good = client.wait_for_last(1, 2)
    assert failure(bad).kind == Kind.INTERNAL
    assert "text 1: NaN" in failure(bad).message
    assert np.isfinite(rows(good)).all()


def test_a_cancelled_request_ends_and_others_go_on(embedder: WorkerClient) -> None:
    embedder.log.clear()
    embedder.send(Embed(id=1, inputs=("a " * 100,) * 2000))
    embedder.send(Embed(id=2, inputs=("a",)))
    embedder.send(Cancel(id=1))
    first, second = embedder.wait_for_last(1, 2)
    assert failure(first).kind == Kind.CANCELLED
    assert isinstance(second, Pooled)


def test_there_is_nothing_to_tune(embedder: WorkerClient) -> None:
    embedder.send(Tune())
    assert embedder.wait_for(Tuned).settings is None


def test_a_stop_ends_what_runs_and_exits(ranker: WorkerClient) -> None:
    ranker.log.clear()
    ranker.send(Rank(id=1, queries=("a",), documents=("b " * 90,) * 8000))
    while not ranker.wait_for(Beat).running:
        pass
    ranker.send(Stop(grace_s=0.0))
    assert ranker.wait_for_exit() == 0
    assert failure(ranker.log[1][-1]).kind == Kind.UNAVAILABLE
