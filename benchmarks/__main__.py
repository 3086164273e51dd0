"""``python -m benchmarks NAME [options]``."""

from __future__ import annotations

import sys

from benchmarks import (
    conversation,
    copying,
    decode_depth,
    growth,
    http_core,
    interference,
    memory,
    neighbour,
    peer,
    pull,
    quality,
    serving,
    shared_prefix,
    startup,
    step,
)

BENCHMARKS = {
    "conversation": conversation.main,
    "copying": copying.main,
    "decode_depth": decode_depth.main,
    "growth": growth.main,
    "http_core": http_core.main,
    "interference": interference.main,
    "memory": memory.main,
    "neighbour": neighbour.main,
    "peer": peer.main,
    "pull": pull.main,
    "quality": quality.main,
    "serving": serving.main,
    "shared_prefix": shared_prefix.main,
    "startup": startup.main,
    "step": step.main,
}


def main() -> int:
    """Run the benchmark named first on the command line; 2 when there is none of that name."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name not in BENCHMARKS:
        print(f"usage: python -m benchmarks {{{','.join(BENCHMARKS)}}} [options]", file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2
    return BENCHMARKS[name](rest)


if __name__ == "__main__":
    sys.exit(main())
