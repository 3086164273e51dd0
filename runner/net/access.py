"""What is known about one answered request: a line of the access log."""

from __future__ import annotations

from typing import NamedTuple


class AccessRecord(NamedTuple):
    """One request, told once it is over. Text fields are escaped: safe in a one-line log."""

    peer: str  # "127.0.0.1:5000" or "unix"
    method: str
    target: str  # as sent, escaped
    status: int  # 499: the client left before a head was sent
    body_bytes: int  # of the response, without framing
    duration_s: float  # from the end of the request's head to the last byte handed to the socket
    request_id: str
    user_agent: str
