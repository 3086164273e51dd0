"""``bench``: how many tokens a second a model answers with, asked by one and by many at once."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from runner.cli.background import reach
from runner.cli.chat import PATH, Answer, Conversation
from runner.cli.console import Console
from runner.cli.output import one_line, render_json, render_table
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import LONG_REPLY_S, Remote
from runner.durations import parse_duration
from runner.errors import Kind, RunnerError

HEADER = ("CONCURRENCY", "REQUESTS", "FAILED", "TOKENS/S", "REQUESTS/S", "FIRST TOKEN", "ANSWER")
PROMPT = "Write a comprehensive 100 word summary on whales and their impact on society."
MAX_CONCURRENCY = 1024

Ask = Callable[[], "Asked"]


class Asked(NamedTuple):
    """What one answer took."""

    tokens: int
    first_s: float  # until the first token
    total_s: float


class Level(NamedTuple):
    """What was measured with so many askers at once."""

    concurrency: int
    duration_s: float
    answers: Sequence[Asked]
    faults: Sequence[RunnerError]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "--concurrency", type=levels, default=[1, 2, 4, 8], metavar="N,…", help="(default: 1,2,4,8)"
    )
    parser.add_argument(
        "--duration", type=seconds, default=30.0, metavar="TIME", help="of each (default: 30s)"
    )
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help="what is asked")
    parser.add_argument(
        "--max-tokens", type=int, default=128, metavar="N", help="longest answer (default: 128)"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="TIME", help="of one answer (default: 5m)"
    )
    parser.add_argument("--json", action="store_true", help="what was measured, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Load the model, measure each level and print the table."""
    remote = reach(console, args.host)
    with waiting(console.err, f"Loading {args.model}"):
        only = [("X-Preload-Only", "true")]
        body = {"model": args.model}
        remote.call("POST", PATH, body, headers=only, timeout_s=LONG_REPLY_S)
    parameters = {"max_tokens": args.max_tokens, "temperature": 0}
    request = Conversation(args.model, parameters=parameters).request(args.prompt)

    def ask() -> Asked:
        return measure(console.remote(args.host), request, timeout_s=args.timeout)

    measured = []
    for concurrency in args.concurrency:
        with waiting(console.err, f"Measuring with {concurrency} at once"):
            measured.append(load(ask, concurrency, args.duration))
        if not measured[-1].answers:
            raise measured[-1].faults[0]
    if args.json:
        report = {"model": args.model, "levels": [describe(level) for level in measured]}
        console.write(render_json(report))
    else:
        console.write(render_table(HEADER, [row(level) for level in measured]))
    for fault in {one_line(fault) for level in measured for fault in level.faults}:
        console.say(fault)
    return 0


def load(ask: Ask, concurrency: int, duration_s: float) -> Level:
    """Ask from ``concurrency`` threads, each again and again until the time is over.

    What is being answered then is waited for, and its time counts. An asker that fails stops.
    """
    answers: list[Asked] = []
    faults: list[RunnerError] = []
    began_s = time.monotonic()

    def keep_asking() -> None:
        try:
            while True:
                answers.append(ask())
                if time.monotonic() - began_s >= duration_s:
                    return
        except RunnerError as error:
            faults.append(error)

    threads = [threading.Thread(target=keep_asking, daemon=True) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Level(concurrency, time.monotonic() - began_s, answers, faults)


def measure(remote: Remote, request: dict[str, Any], *, timeout_s: float) -> Asked:
    """Ask once. Raises RunnerError, TIMEOUT too when the whole answer takes too long."""
    began_s = time.monotonic()
    first_s = 0.0
    with Answer(remote, request) as answer:
        for _ in answer:
            now_s = time.monotonic() - began_s
            first_s = first_s or now_s
            if now_s > timeout_s:
                raise RunnerError(Kind.TIMEOUT, f"an answer took longer than {timeout_s:g} s")
    total_s = time.monotonic() - began_s
    return Asked(answer.usage.get("completion_tokens", 0), first_s or total_s, total_s)


def describe(level: Level) -> dict[str, Any]:
    """Sum a level up."""
    tokens = sum(answer.tokens for answer in level.answers)
    return {
        "concurrency": level.concurrency,
        "duration_s": round(level.duration_s, 3),
        "requests": len(level.answers),
        "failed": len(level.faults),
        "tokens": tokens,
        "tokens_per_second": round(tokens / level.duration_s, 2),
        "requests_per_second": round(len(level.answers) / level.duration_s, 3),
        "first_token_s": round(median(answer.first_s for answer in level.answers), 4),
        "answer_s": round(median(answer.total_s for answer in level.answers), 4),
    }


def row(level: Level) -> list[str]:
    """Return a level's row of the table; times are medians."""
    told = describe(level)
    return [
        str(told["concurrency"]),
        str(told["requests"]),
        str(told["failed"]),
        f"{told['tokens_per_second']:.1f}",
        f"{told['requests_per_second']:.2f}",
        f"{told['first_token_s'] * 1000:.0f} ms",
        f"{told['answer_s']:.2f} s",
    ]


def levels(text: str) -> list[int]:
    """Parse ``1,2,4``; argparse tells of a ValueError."""
    counts = [int(part) for part in text.split(",")]
    if not all(1 <= count <= MAX_CONCURRENCY for count in counts):
        raise argparse.ArgumentTypeError(f"expected counts from 1 to {MAX_CONCURRENCY}")
    return counts


def seconds(text: str) -> float:
    """Parse ``30s``; argparse tells of what is none."""
    try:
        return parse_duration(text)
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None
