"""``/metrics``: what the daemon counted, and what its engines last told, for Prometheus."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from runner.api.call import Call, Handler
from runner.api.keys import Scope
from runner.api.management import exposition
from runner.api.management.exposition import Family, Labels, Sample, Type, histogram
from runner.api.routes import Route
from runner.service import Engines, Histogram, ModelTally, Phase, RunningModel, Tally

Counted = tuple[Labels, Mapping[str, int]]  # counts by one more label


class Metrics:
    """The handler of ``/metrics``."""

    def __init__(self, tally: Tally, engines: Engines, *, version: str) -> None:
        self._tally = tally
        self._engines = engines
        self._version = version
        self._started_s = time.time()

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its route."""
        about = "tell counts and loads, in Prometheus' text format"
        yield Route("GET", "/metrics", Scope.INFER, self.tell, about)

    async def tell(self, call: Call) -> None:
        """Tell all metrics. Asking wakes no model and counts as no use of one."""
        running = self._engines.running()
        text = exposition.render(
            [
                *of_server(self._tally, version=self._version, started_s=self._started_s),
                *of_models(self._tally.models),
                Family(
                    "runner_requests_waiting_for_room",
                    Type.GAUGE,
                    "requests whose model waits for another to make room",
                    [Sample({}, self._engines.waiting_for_room)],
                ),
                *of_running([(self._tally.label(one.tags, one.id), one) for one in running]),
            ]
        )
        headers = [("Content-Type", exposition.CONTENT_TYPE)]
        await call.reply(text.encode(), headers=headers)


def of_server(tally: Tally, *, version: str, started_s: float) -> Iterator[Family]:
    """Tell of the server and its transfers."""
    yield Family(
        "runner_build_info", Type.GAUGE, "the server's version", [Sample({"version": version}, 1)]
    )
    about = "when the server began, in seconds since 1970"
    yield Family("process_start_time_seconds", Type.GAUGE, about, [Sample({}, started_s)])
    yield _by(
        "runner_http_responses_total",
        "answers, by HTTP status; 499: the client left before one",
        "code",
        [({}, {str(code): count for code, count in tally.answers.items()})],
    )
    about = "pulls that are over: pulled, cached (nothing was missing) or failed"
    yield _by("runner_pulls_total", about, "outcome", [({}, tally.pulls)])
    about = "bytes that pulls received"
    yield Family("runner_pulled_bytes_total", Type.COUNTER, about, [Sample({}, tally.pulled_bytes)])


def of_models(models: Mapping[str, ModelTally]) -> Iterator[Family]:
    """Tell what was counted of each model, loaded or not."""

    def each(count: Callable[[ModelTally], float]) -> list[Sample]:
        return [Sample({"model": name}, count(tally)) for name, tally in models.items()]

    def each_by(count: Callable[[ModelTally], Mapping[str, int]]) -> list[Counted]:
        return [({"model": name}, count(tally)) for name, tally in models.items()]

    about = "requests that are over, by how: eos, stop, length, context, pooled, or an error's code"
    yield _by("runner_requests_total", about, "end", each_by(lambda t: t.requests))
    for name, about, count in _COUNTERS:
        yield Family(f"runner_{name}_total", Type.COUNTER, about, each(count))
    about = "loads that failed, by the error's code"
    yield _by("runner_model_load_failures_total", about, "code", each_by(lambda t: t.load_failures))
    about = "models that left the memory: idle, room, asked, settings, shutdown or crashed"
    yield _by("runner_model_unloads_total", about, "reason", each_by(lambda t: t.unloads))
    for name, about, times in _HISTOGRAMS:
        samples = [
            sample
            for model, tally in models.items()
            for sample in histogram({"model": model}, times(tally).buckets(), times(tally).total)
        ]
        yield Family(f"runner_{name}_seconds", Type.HISTOGRAM, about, samples)


def of_running(running: Iterable[tuple[str, RunningModel]]) -> Iterator[Family]:
    """Tell the present state of the models in memory, each with its label."""
    by_label: defaultdict[str, list[RunningModel]] = defaultdict(list)
    for label, model in running:
        by_label[label].append(model)
    for name, about, count in _GAUGES:
        samples = [
            Sample({"model": label}, sum(map(count, models))) for label, models in by_label.items()
        ]
        yield Family(f"runner_{name}", Type.GAUGE, about, samples)


def _by(name: str, about: str, label: str, counted: Iterable[Counted]) -> Family:
    """Make a counter that has one label more."""
    samples = [
        Sample({**labels, label: value}, count)
        for labels, counts in counted
        for value, count in sorted(counts.items())
    ]
    return Family(name, Type.COUNTER, about, samples)


_COUNTERS: tuple[tuple[str, str, Callable[[ModelTally], float]], ...] = (
    ("prompt_tokens", "tokens of prompts, cached ones included", lambda t: t.prompt_tokens),
    ("cached_tokens", "tokens of prompts that were not computed again", lambda t: t.cached_tokens),
    ("completion_tokens", "tokens that were made", lambda t: t.completion_tokens),
    ("draft_tokens", "tokens that were guessed and checked", lambda t: t.draft_tokens),
    ("accepted_tokens", "guessed tokens that were right", lambda t: t.accepted_tokens),
    ("model_loads", "loads that succeeded", lambda t: t.loads),
)

_HISTOGRAMS: tuple[tuple[str, str, Callable[[ModelTally], Histogram]], ...] = (
    ("model_load", "how long loads took", lambda t: t.load_s),
    (
        "model_wait",
        "how long requests waited for their model to be there",
        lambda t: t.model_wait_s,
    ),
    ("queue", "how long answered requests waited in the engine", lambda t: t.queue_s),
    ("time_to_first_token", "from sending a request to the engine", lambda t: t.first_token_s),
    ("inter_token", "from one token to the next", lambda t: t.inter_token_s),
    ("request", "from sending a request to the engine to its end", lambda t: t.request_s),
)

_GAUGES: tuple[tuple[str, str, Callable[[RunningModel], float]], ...] = (
    ("model_ready", "models in memory that take requests", lambda m: m.phase is Phase.READY),
    ("model_loading", "models being loaded", lambda m: m.phase is Phase.LOADING),
    ("requests_running", "requests being computed", lambda m: m.beat.running if m.beat else 0),
    (
        "requests_waiting",
        "requests that wait for the model or in its engine",
        lambda m: m.waiting + (m.beat.waiting if m.beat else 0),
    ),
    ("kv_cells_used", "tokens in the KV cache", lambda m: m.beat.cells_used if m.beat else 0),
    (
        "kv_cells",
        "tokens that the KV cache can hold",
        lambda m: m.beat.cells_total if m.beat else 0,
    ),
    ("prefix_ram_bytes", "saved prefixes", lambda m: m.beat.prefix_ram_bytes if m.beat else 0),
    ("memory_bytes", "of the engine's process", lambda m: m.beat.resident_bytes if m.beat else 0),
)
