"""One stream after a long prompt: how fast tokens come when the context holds 600 already.

Attention reads the whole context for each token, and the kernel that is fast for prompts may be
slow for this. The prompt is the same each time, so that it comes from the cache after the first;
what counts is the time from the first arrival of text to the last.
"""

from __future__ import annotations

import zlib

from benchmarks import alone, prompts
from benchmarks.client import Target, chat, check

DEPTH = 600
TOKENS = 64


async def measure(target: Target, seed: str, *, depth: int = DEPTH) -> alone.Figures:
    """Decode once after a prompt of about ``depth`` tokens; the seed is that of the sampling."""
    body = prompts.sampled(
        prompts.story(depth, f"depth/{depth}"), TOKENS, seed=zlib.crc32(seed.encode())
    )
    answer = await chat(target, body)
    check([answer])
    speed = answer.decode_tokens_per_s
    return {
        "tok/s": speed,
        "ms a token": 1e3 / speed,
        "prompt tokens": float(answer.prompt_tokens),
    }


def main(argv: list[str]) -> int:
    """Measure one server."""
    parser = alone.arguments("decode_depth", __doc__)
    parser.add_argument("--depth", type=int, default=DEPTH, help="tokens of the prompt, about")
    options = parser.parse_args(argv)
    return alone.run("decode_depth", options, lambda t, seed: measure(t, seed, depth=options.depth))
