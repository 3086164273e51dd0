"""What every message is, and how a request is called in all of them."""

from __future__ import annotations

import msgspec

RequestId = int


class Message(
    msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True, kw_only=True, gc=False
):
    """Base of every message."""
