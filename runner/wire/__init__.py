"""All that crosses the pipe between daemon and worker: messages, their codec, framing. Pure.

Message types are imported from :mod:`runner.wire.messages`; here is what moves them.
"""

from __future__ import annotations

from runner.wire.codec import Decoder, encode, from_worker_decoder, to_worker_decoder
from runner.wire.frames import FrameError
from runner.wire.messages import is_last

__all__ = [
    "Decoder",
    "FrameError",
    "encode",
    "from_worker_decoder",
    "is_last",
    "to_worker_decoder",
]
