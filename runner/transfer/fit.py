"""Whether a model can be expected to run in a machine's memory. Pure, and an estimate."""

from __future__ import annotations

from enum import StrEnum

CONTEXT_SHARE = 8  # one eighth of the weights: what a few thousand tokens of cache come to
MIN_CONTEXT_BYTES = 512 * 1024 * 1024  # and compute buffers, of even the smallest model


class Fit(StrEnum):
    """The verdict that search shows."""

    YES = "yes"
    PARTIAL = "partial"  # the weights alone fit: a short context, or slow for lack of cache
    NO = "no"


def judge_fit(size_bytes: int, *, memory_bytes: int) -> Fit:
    """Compare a model's files with the memory that a model may have."""
    context_bytes = max(size_bytes // CONTEXT_SHARE, MIN_CONTEXT_BYTES)
    if size_bytes + context_bytes <= memory_bytes:
        return Fit.YES
    return Fit.PARTIAL if size_bytes <= memory_bytes else Fit.NO
