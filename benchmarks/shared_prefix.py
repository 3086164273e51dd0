"""Sixteen requests, eight at a time, that share a system prompt of about 600 tokens.

An assistant's tools and rules, a document that many ask about: what a server computes of the
common part is most of the work. Each measurement has a system prompt that no cache knows.
"""

from __future__ import annotations

import time

from benchmarks import alone, harness, prompts
from benchmarks.client import Target, chat_all, check

REQUESTS, AT_A_TIME = 16, 8
SYSTEM_TOKENS, USER_TOKENS, TOKENS = 600, 30, 16


async def measure(target: Target, seed: str) -> alone.Figures:
    """Send the requests; seconds for all, milliseconds to the first token, share from the cache."""
    system = prompts.essay(SYSTEM_TOKENS, f"{seed}/system")
    bodies = [
        prompts.sampled(prompts.instructed(system, USER_TOKENS, f"{seed}/{n}"), TOKENS)
        for n in range(REQUESTS)
    ]
    begun_s = time.perf_counter()
    answers = await chat_all(target, bodies, at_a_time=AT_A_TIME)
    wall_s = time.perf_counter() - begun_s
    check(answers)
    first_ms = [1e3 * answer.first_token_s for answer in answers]
    prompt = sum(answer.prompt_tokens for answer in answers)
    return {
        "wall s": wall_s,
        "TTFT p50 ms": harness.median(first_ms),
        "TTFT p95 ms": harness.percentile(first_ms, 0.95),
        "cached share": sum(answer.cached_tokens for answer in answers) / prompt,
        "prompt tokens": float(prompt),
    }


def main(argv: list[str]) -> int:
    """Measure one server."""
    options = alone.arguments("shared_prefix", __doc__).parse_args(argv)
    return alone.run("shared_prefix", options, measure)
