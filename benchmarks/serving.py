"""How a server serves: time to first token, gaps between tokens, tokens a second, for some loads.

For any OpenAI-compatible URL. Each load: ``streams`` clients at a time send ``--rounds`` requests
each. Prompts differ from their first words on, so that no cache helps; what sharing is worth, the
benchmark ``shared_prefix`` tells. Lengths are forced with ``ignore_eos``, which llama.cpp's
servers know; others answer as long as they like.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks import alone, harness, prompts
from benchmarks.client import RequestFailed, Target, chat_all, check

SHORT, LONG = 100, 600  # tokens of a prompt, about
TOKENS = 64


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients at a time, each with so many requests in turn."""

    streams: int
    rounds: int = 1
    prompt_tokens: int = SHORT
    max_tokens: int = TOKENS

    @property
    def name(self) -> str:
        """As a table has it."""
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{streams}, {self.prompt_tokens}-token prompts"


async def measure(target: Target, seed: str, *, load: Load) -> alone.Figures:
    """Send one load; times in milliseconds, tokens a second of all streams together."""
    bodies = [
        prompts.sampled(prompts.story(load.prompt_tokens, f"{seed}/{n}"), load.max_tokens)
        for n in range(load.streams * load.rounds)
    ]
    begun_s = time.perf_counter()
    answers = await chat_all(target, bodies, at_a_time=load.streams)
    wall_s = time.perf_counter() - begun_s
    check(answers)
    first_ms = [1e3 * answer.first_token_s for answer in answers]
    gaps_ms = [1e3 * gap for answer in answers for gap in answer.gaps_s]
    return {
        "TTFT p50 ms": harness.median(first_ms),
        "TTFT p95 ms": harness.percentile(first_ms, 0.95),
        "gap p50 ms": harness.median(gaps_ms),
        "gap p95 ms": harness.percentile(gaps_ms, 0.95),
        "tok/s": sum(answer.completion_tokens for answer in answers) / wall_s,
        "wall s": wall_s,
        "prompt tokens": float(sum(answer.prompt_tokens for answer in answers)),
        "cached": float(sum(answer.cached_tokens for answer in answers)),
    }


async def measure_all(target: Target, seed: str, loads: list[Load]) -> list[dict[str, Any]]:
    """Run each load once after one warm-up; one row each."""
    await alone.warm_up(target)
    return [{"load": load.name, **await measure(target, seed, load=load)} for load in loads]


def main(argv: list[str]) -> int:
    """Parse arguments, measure, print the table; 1 when a request failed."""
    parser = alone.arguments("serving", __doc__)
    parser.add_argument("--streams", default="1,4,8,16", help="numbers of clients at a time")
    parser.add_argument("--prompts", default=f"{SHORT},{LONG}", help="tokens of the prompts")
    parser.add_argument("--rounds", type=int, default=1, help="requests a client sends in turn")
    parser.set_defaults(repeat=1)
    options = parser.parse_args(argv)
    target = Target(options.url, options.model, os.environ.get("OPENAI_API_KEY"))
    loads = [
        Load(int(streams), options.rounds, int(tokens))
        for tokens in options.prompts.split(",")
        for streams in options.streams.split(",")
    ]
    harness.warn_if_busy()
    rows = []
    try:
        for n in range(options.repeat):
            rows += asyncio.run(measure_all(target, f"{options.seed}/{n}", loads))
    except RequestFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    harness.report("serving", vars(options), rows, options.json)
    return 0
