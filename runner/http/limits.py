"""Bounds on what a peer may make us hold or compute."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds of one connection. The body as a whole is bounded by whoever takes its ``Data``."""

    max_line_bytes: int = 8 * 1024  # of the request line; RFC 9112 §3 asks for 8000 at least
    max_head_bytes: int = 64 * 1024  # nginx allows 32 KiB, node 16; ours serves long credentials
    max_fields: int = 128  # header or trailer lines
    max_chunks: int | None = 32 * 1024  # small ones of a request: each costs time, not its bytes
    max_chunk_line_bytes: int = 256  # size and extensions
    max_trailer_bytes: int = 8 * 1024
