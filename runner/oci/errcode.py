"""Error answers of a registry: distribution specification, section "Error Codes". Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from runner.errors import Kind

MAX_BODY_BYTES = 64 * 1024  # of an error answer; the rest is not read
MAX_FAULTS = 8
MAX_MESSAGE_CHARACTERS = 200

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_DENIED = {"UNAUTHORIZED", "DENIED"}
_ABSENT = {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of ``errors``: the code, and the registry's words with nothing unprintable."""

    code: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


def parse_faults(body: bytes) -> tuple[Fault, ...]:
    """Read the error codes of an answer; a body of any other form has none and is never shown."""
    try:
        value = json.loads(body[:MAX_BODY_BYTES])
    except (ValueError, RecursionError):
        return ()
    entries = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return ()
    return tuple(fault for entry in entries[:MAX_FAULTS] if (fault := _parse_fault(entry)))


def kind_of(status: int, faults: tuple[Fault, ...]) -> Kind:
    """Tell what a refusal means: by the status, and by the code where a status has two meanings."""
    codes = {fault.code for fault in faults}
    if status == 429 or "TOOMANYREQUESTS" in codes:
        return Kind.RATE_LIMITED
    if status in (401, 403):
        return Kind.REGISTRY_DENIED
    if status in (404, 410):
        # Some registries hide what one may not see behind a 404, and say so by the code.
        return (
            Kind.REGISTRY_DENIED
            if codes & _DENIED and not codes & _ABSENT
            else Kind.MODEL_NOT_FOUND
        )
    return Kind.REGISTRY_UNAVAILABLE


def _parse_fault(entry: object) -> Fault | None:
    if not isinstance(entry, dict):
        return None
    code, message = entry.get("code"), entry.get("message")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    text = message if isinstance(message, str) else ""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return Fault(code, " ".join(shown.split())[:MAX_MESSAGE_CHARACTERS])
