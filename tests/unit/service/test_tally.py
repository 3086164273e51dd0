"""What is counted of requests, of models and of pulls."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

from runner.errors import Kind, RunnerError
from runner.service import EngineLimits, Engines
from runner.service.tally import MAX_MODELS, Histogram, ModelTally, Tally, Unload
from runner.supervise import Completion
from runner.transfer.client import Pulled
from runner.wire.messages import Ask as AskMessage
from runner.wire.messages import (
    Begun,
    Detokenize,
    Ended,
    Failed,
    Piece,
    Pooled,
    Sampling,
    Submit,
    TextPrompt,
    Timings,
)
from tests.support.fake_engine import FakeModels, FakeSpawn, as_usual, estimate, stored

TIMINGS = Timings(cache_n=2, prompt_n=5, prompt_ms=450, predicted_n=4, predicted_ms=1)
GUESSED = Timings(
    cache_n=0, prompt_n=1, prompt_ms=1, predicted_n=1, predicted_ms=1, draft_n=6, draft_n_accepted=4
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def ended(timings: Timings = TIMINGS) -> Ended:
    return Ended(
        id=1,
        reason="length",
        prompt_tokens=7,
        cached_tokens=2,
        completion_tokens=4,
        timings=timings,
    )


def filled(histogram: Histogram) -> dict[float, int]:
    """The intervals that have values, by their upper bounds."""
    bounds = (*histogram.bounds, math.inf)
    return {b: n for b, n in zip(bounds, histogram.counts, strict=True) if n}


def test_a_histogram_counts_a_bound_as_below_itself() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.add(value)
    assert histogram.buckets() == [(1.0, 2), (2.0, 3), (math.inf, 4)]
    assert histogram.total == 102.0


def test_a_request_is_counted_on_its_way() -> None:
    clock = Clock()
    tally = ModelTally(clock)
    course = tally.begin()
    clock.now_s += 0.2
    course(Begun(id=1, prompt_tokens=7, cached_tokens=2))
    clock.now_s += 0.4
    course(Piece(id=1, text="a", tokens=1))
    clock.now_s += 0.06
    course(Piece(id=1, text="bcd", tokens=3))  # three tokens in one step
    clock.now_s += 1.0
    course(Piece(id=1, text="!", tokens=0))  # text that was held back is no token
    course(ended())
    assert (tally.prompt_tokens, tally.cached_tokens, tally.completion_tokens) == (7, 2, 4)
    assert tally.requests == Counter({"length": 1})
    assert filled(tally.queue_s) == {0.25: 1}
    assert filled(tally.first_token_s) == {1.0: 1}
    assert filled(tally.inter_token_s) == {0.025: 3}
    assert filled(tally.request_s) == {2.5: 1}


def test_other_ends_are_counted_by_their_names() -> None:
    tally = ModelTally(Clock())
    tally.begin()(Failed(id=1, kind="cancelled", message="the client left"))
    tally.begin()(Pooled(id=2, width=1, values=b"", tokens=(3, 4)))
    tally.begin()(ended(GUESSED))
    assert tally.requests == Counter({"cancelled": 1, "pooled": 1, "length": 1})
    assert tally.prompt_tokens == 7
    assert (tally.draft_tokens, tally.accepted_tokens) == (6, 4)


def test_an_observer_hears_of_a_refusal_that_came_before_it() -> None:
    completion = Completion(1, cancel=lambda id: None)
    refusal = Failed(id=1, kind="too_large", message="too large")
    completion.deliver(refusal)
    heard: list[object] = []
    completion.observe(heard.append)
    assert heard == [refusal]


def test_an_observer_hears_what_the_consumer_left() -> None:
    async def main() -> None:
        completion = Completion(1, cancel=lambda id: None)
        heard: list[object] = []
        completion.observe(heard.append)
        await completion.aclose()
        failed = Failed(id=1, kind="cancelled", message="")
        completion.deliver(failed)
        assert heard == [failed]

    asyncio.run(main())


def test_models_beyond_a_bound_are_counted_together() -> None:
    tally = Tally()
    for number in range(MAX_MODELS + 10):
        tally.of(stored(f"m{number}")).loads += 1
    assert len(tally.models) == MAX_MODELS + 1
    assert tally.models["docker.io/ai/m0:latest"].loads == 1
    assert tally.models["other"].loads == 10


def test_a_model_without_a_tag_goes_by_its_id() -> None:
    assert Tally().label((), "sha256:abc") == "sha256:abc"


def test_pulls_are_counted_by_outcome() -> None:
    tally = Tally()
    tally.pulled(Pulled(stored("a"), is_cached=False, received_bytes=70))
    tally.pulled(Pulled(stored("a"), is_cached=True))
    tally.pulled(None)
    assert tally.pulls == Counter({"pulled": 1, "cached": 1, "failed": 1})
    assert tally.pulled_bytes == 70


# ---- by the engines ----------------------------------------------------------------------------


class World:
    """Engines with fakes behind them, and room for one model."""

    def __init__(self) -> None:
        self.tally, self.clock = Tally(), Clock()
        self.spawn = FakeSpawn()
        self.engines = Engines(
            FakeModels("a", "b"),
            self.spawn,
            settings_for=as_usual,
            estimate=estimate,
            limits=EngineLimits(max_loaded=1),
            tally=self.tally,
            clock=self.clock,
        )

    def of(self, name: str) -> ModelTally:
        return self.tally.models[f"docker.io/ai/{name}:latest"]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_loads_and_unloads_are_counted_with_their_reasons() -> None:
    async def main() -> None:
        world = World()
        (await world.engines.lease("a")).release()
        (await world.engines.lease("b")).release()  # takes a's place
        await world.engines.unload()
        (await world.engines.lease("b")).release()
        world.clock.now_s += 301
        world.engines.tick()
        await settle()
        lease = await world.engines.lease("b")
        world.spawn.engines["b"].exit()
        await settle()
        lease.release()
        await world.engines.close(0)
        assert world.of("a").unloads == Counter({Unload.ROOM: 1})
        assert world.of("b").unloads == Counter(
            {Unload.ASKED: 1, Unload.IDLE: 1, Unload.CRASHED: 1}
        )
        assert (world.of("a").loads, world.of("b").loads) == (1, 3)
        assert sum(world.of("b").load_s.counts) == sum(world.of("b").model_wait_s.counts) == 3

    asyncio.run(main())


def test_a_failed_load_is_counted_by_its_kind() -> None:
    async def main() -> None:
        world = World()
        world.spawn.at_once = False
        leasing = asyncio.create_task(world.engines.lease("a"))
        await settle()
        world.spawn.fail("a", RunnerError(Kind.INVALID_MODEL, "no tensors"))
        await asyncio.wait([leasing])
        assert isinstance(leasing.exception(), RunnerError)
        await world.engines.close(0)
        tally = world.of("a")
        assert tally.load_failures == Counter({"invalid_model": 1})
        assert (tally.loads, tally.unloads) == (0, Counter())

    asyncio.run(main())


def test_a_question_without_computing_is_no_request() -> None:
    async def main() -> None:
        world = World()
        async with await world.engines.lease("a") as lease:
            question = lease.submit(AskMessage(id=0, question=Detokenize(tokens=(1,))))
            request = lease.submit(Submit(id=0, prompt=TextPrompt(text="x"), sampling=Sampling()))
            for completion in (question, request):
                completion.deliver(Failed(id=1, kind="busy", message="no"))
        await world.engines.close(0)
        assert world.of("a").requests == Counter({"busy": 1})

    asyncio.run(main())
