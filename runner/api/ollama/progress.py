"""The lines that tell how a transfer goes, as Ollama writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from runner.api.jsontext import encode
from runner.service import LayerProgress, Note, Planned, TransferEvent

SUCCESS = "success"
SHOWN_DIGITS = 12  # of a layer's digest


@dataclass(frozen=True, slots=True)
class Manner:
    """What is done, in Ollama's words."""

    opening: str
    verb: str


PULL = Manner("pulling manifest", "pulling")
PUSH = Manner("retrieving manifest", "pushing")
CREATE = Manner("gathering model components", "storing")


def line(status: str, **members: Any) -> bytes:
    """Render one line."""
    return encode({"status": status, **members}) + b"\n"


def lines(events: Iterable[TransferEvent], manner: Manner) -> bytes:
    """Render news of a transfer; empty when there is nothing to tell."""
    return b"".join(_lines(events, manner))


def _lines(events: Iterable[TransferEvent], manner: Manner) -> Iterator[bytes]:
    for event in events:
        match event:
            case Note():
                yield line(event.message)
            case LayerProgress():
                yield line(
                    f"{manner.verb} {event.digest.hex[:SHOWN_DIGITS]}",
                    digest=str(event.digest),
                    total=event.size_bytes,
                    completed=event.done_bytes,
                )
            case Planned():
                pass  # its layers follow, each with a line of its own
