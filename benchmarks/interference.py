"""A prompt of 2,000 tokens arrives while four streams run: what it does to them, and how it fares.

Gaps are between arrivals of text. Those count that overlap the time from the long request to its
first token: over the whole life of a stream one stall of seconds would vanish among its hundreds
of gaps, and a reader notices just that one. The streams are hung up on afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from benchmarks import alone, harness, prompts
from benchmarks.client import Answer, Target, chat, check

STREAMS, STREAM_PROMPT = 4, 100
LONG_PROMPT = 2000
STREAM_TOKENS = 1500  # more than they get to
NEWCOMER_TOKENS = 4
RUN_UP_S = 1.0  # of the streams alone, once all have begun
BEGIN_S = 60.0
SETTLE_S = 1.5  # llama-server notices once a second that a client is gone


async def measure(target: Target, seed: str) -> alone.Figures:
    """Run the streams, let the prompt arrive, hang up; times in milliseconds."""
    streams = [Answer(begun_s=time.perf_counter()) for _ in range(STREAMS)]
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(chat(target, _stream_body(f"{seed}/{n}"), answer))
            for n, answer in enumerate(streams)
        ]
        await _all_begun(streams)
        await asyncio.sleep(RUN_UP_S)
        messages = prompts.story(LONG_PROMPT, f"{seed}/long")
        newcomer = await chat(target, prompts.sampled(messages, NEWCOMER_TOKENS))
        until_s = newcomer.begun_s + newcomer.first_token_s
        await asyncio.sleep(RUN_UP_S)
        for task in running:
            task.cancel()
    check([newcomer, *streams])
    await asyncio.sleep(SETTLE_S)
    before = [1e3 * g for s in streams for g in gaps_over(s, s.begun_s, newcomer.begun_s)]
    during = [1e3 * g for s in streams for g in gaps_over(s, newcomer.begun_s, until_s)]
    return {
        "gap p50 ms": harness.median(during),
        "gap p95 ms": harness.percentile(during, 0.95),
        "gap p99 ms": harness.percentile(during, 0.99),
        "gap before p50 ms": harness.median(before),
        "newcomer TTFT ms": 1e3 * newcomer.first_token_s,
        "newcomer prompt tokens": float(newcomer.prompt_tokens),
    }


def gaps_over(answer: Answer, begin_s: float, end_s: float) -> list[float]:
    """Seconds of each gap between two arrivals that overlaps the time from begin to end."""
    times = answer.arrivals_s
    return [b - a for a, b in itertools.pairwise(times) if b > begin_s and a < end_s]


def _stream_body(seed: str) -> dict[str, object]:
    return prompts.sampled(prompts.story(STREAM_PROMPT, seed), STREAM_TOKENS)


async def _all_begun(streams: list[Answer]) -> None:
    async with asyncio.timeout(BEGIN_S):
        while not all(answer.arrivals_s or answer.error for answer in streams):
            await asyncio.sleep(0.02)


def main(argv: list[str]) -> int:
    """Measure one server."""
    options = alone.arguments("interference", __doc__).parse_args(argv)
    return alone.run("interference", options, measure)
