"""Models whose memory cannot be cut back find prefixes nevertheless, and answer as without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from runner.wire.messages import Begun, Ended, EngineWishes, Ready, Sampling, Stop
from tests.process.worker_client import WorkerClient, text
from tests.support.embedded import require_library
from tests.support.state_models import write_state_models

pytestmark = pytest.mark.native

# The shape in which a row has the same bits wherever its cells lie.
WISHES = EngineWishes(
    context_size=4096,
    parallel=4,
    threads=1,
    flash_attention=True,
    ubatch_size=64,
    prefix_ram_bytes=64 * 1024**2,
)
RANDOM = Random(5)
ALPHABET = "abcdefghijklmnopqrstuvwxyz "
TURNS = 20


def words(count: int) -> str:
    """A text of as many tokens: the models' tokens are bytes."""
    return "".join(RANDOM.choices(ALPHABET, k=count))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    require_library()
    return write_state_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(params=["window", "recurrent", "hybrid"])
def worker(request: pytest.FixtureRequest, models: dict[str, Path]) -> Iterator[WorkerClient]:
    with WorkerClient() as worker:
        worker.load(models[request.param], WISHES)
        settings = worker.wait_for(Ready).settings
        assert settings.full_window is (request.param != "window")
        assert settings.kv_layout == "streams"
        yield worker


def ended(worker: WorkerClient, id: int, prompt: str, *, is_cached: bool = True) -> Ended:
    sampling = Sampling(temperature=0.0, ignore_eos=True)
    worker.send(text(id, prompt, max_tokens=8, sampling=sampling, cache_prompt=is_cached))
    [event] = worker.wait_for_last(id)
    assert isinstance(event, Ended), event
    return event


def assert_the_same_without_cache(worker: WorkerClient, id: int, prompt: str) -> None:
    ended(worker, 1000 + id, prompt, is_cached=False)
    assert worker.text(1000 + id) == worker.text(id)


def test_a_conversation_computes_what_is_new_in_each_turn(worker: WorkerClient) -> None:
    prompt, computed, total = words(200), 0, 0
    for turn in range(TURNS):
        event = ended(worker, turn, prompt)
        total += event.prompt_tokens
        computed += event.prompt_tokens - event.cached_tokens
        if turn % 5 == 4:
            assert_the_same_without_cache(worker, turn, prompt)
        prompt += words(60)  # an answer rendered in another way than it was given, and a question
    assert computed < total / 7


def test_requests_with_a_common_beginning_compute_it_once_or_twice(worker: WorkerClient) -> None:
    head = words(600)
    prompts = [head + words(30) for _ in range(16)]
    cached = [ended(worker, id, prompt).cached_tokens for id, prompt in enumerate(prompts)]
    assert cached[0] == 0
    assert cached[1] == 512  # a stride; from then on, where the first two parted
    assert min(cached[2:]) >= 600
    assert_the_same_without_cache(worker, 15, prompts[15])


def test_requests_that_come_together_compute_their_beginning_once(worker: WorkerClient) -> None:
    head = words(600)
    prompts = [head + words(30) for _ in range(16)]
    sampling = Sampling(temperature=0.0, ignore_eos=True)
    for id, prompt in enumerate(prompts):
        worker.send(text(id, prompt, max_tokens=8, sampling=sampling))
    worker.wait_for_last(*range(16))
    begun = [event for id in range(16) for event in worker.log[id] if isinstance(event, Begun)]
    cached = sorted(event.cached_tokens for event in begun)
    assert cached[0] == 0
    assert min(cached[1:]) >= 600
    for id in (3, 15):
        assert_the_same_without_cache(worker, id, prompts[id])


def test_states_outlive_the_worker(models: dict[str, Path], tmp_path: Path) -> None:
    wishes = EngineWishes(context_size=2048, parallel=1, threads=1, prefix_disk_bytes=1 << 26)
    head = words(600)
    answers = []
    for life in range(2):
        with WorkerClient() as worker:
            worker.load(models["recurrent"], wishes, prefix_dir=str(tmp_path / "prefixes"))
            worker.wait_for(Ready)
            answers.append(ended(worker, 1, head).cached_tokens)
            assert_the_same_without_cache(worker, 1, head)
            worker.send(Stop(grace_s=0.0))
            assert worker.wait_for_exit() == 0, life
    assert answers[0] == 0
    assert answers[1] > 500
