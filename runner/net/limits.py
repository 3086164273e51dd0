"""Every bound and every deadline of the server, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner import http


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and deadlines of one server. Defaults suit a user's machine; all are settings.

    Deadlines are checked by one timer every ``tick_s``, so they may be late by that much.
    """

    message: http.Limits = field(default_factory=http.Limits)
    max_connections: int = 512  # of all listeners; beyond it: 503 with Retry-After
    max_connections_per_peer: int = 256  # from one IP address; unix sockets are not counted
    evictable_idle_s: float = 1.0  # idle for this long, a connection gives its place to a new one
    max_refusals: int = 32  # connections being told 503 at a time; beyond it: left in the backlog
    head_s: float = 10.0  # from accepting, or from the first byte of a request, to its head's end
    idle_s: float = 75.0  # between two requests of a kept-alive connection
    body_s: float = 300.0  # for a whole body
    body_grace_s: float = 10.0  # before the floor rate counts
    body_floor_bytes_per_s: int = 1024  # a body slower than this is refused with 408
    write_stall_s: float = 30.0  # a reader that takes nothing for this long is cut off
    linger_s: float = 2.0  # after our last byte, for the client to read it and close
    read_high_water_bytes: int = 256 * 1024  # received and not yet wanted: reading pauses
    write_high_water_bytes: int = 64 * 1024  # not yet sent, here and in the kernel: who sends waits
    heartbeat_s: float = 10.0  # silence after which a stream that asked for it sends a heartbeat
    last_words_s: float = 1.0  # for a cancelled handler to end its stream
    tick_s: float = 0.25
