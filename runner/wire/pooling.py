"""What models that pool are asked, and what they answer."""

from __future__ import annotations

import msgspec

from runner.wire.base import Message, RequestId


class Embed(Message, frozen=True, tag="embed"):
    """Ask for the vector of each input. Answered by :class:`Pooled`."""

    id: RequestId
    inputs: tuple[str | tuple[int, ...], ...]  # text, or tokens that are taken as they are
    dimensions: int | None = None  # the first so many of each vector; None: all
    norm: int = 2  # -1: as the model gives it; 0: the largest is 32760; 1, 2, ...: of this p
    truncate: bool = False  # cut a text that is too long, instead of refusing it
    deadline_s: float | None = None  # seconds from arrival
    param: str = "input"  # what the client calls the inputs, for errors


class Rank(Message, frozen=True, tag="rank"):
    """Ask how well each document answers its query. Answered by :class:`Pooled`."""

    id: RequestId
    queries: tuple[str, ...]  # one for all documents, or one for each
    documents: tuple[str, ...]
    truncate: bool = False  # cut a document that is too long, instead of refusing it
    deadline_s: float | None = None  # seconds from arrival
    param: str = "documents"  # what the client calls them, for errors


class Pooled(msgspec.Struct, frozen=True, tag="pooled"):
    """Last event of an :class:`Embed` or :class:`Rank`: a row of numbers for each input."""

    id: RequestId
    width: int  # numbers of a row
    values: bytes  # all rows, in order: float32, little-endian, finite
    tokens: tuple[int, ...]  # of each input
