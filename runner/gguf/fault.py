"""How this package refuses a file: one error kind, the field named, hostile names made harmless."""

from __future__ import annotations

from runner.errors import Kind, RunnerError

MAX_SHOWN_CHARACTERS = 100


class HeaderCutOff(RunnerError):
    """The view ends before the header does, but the file may hold the rest: read more of it."""

    def __init__(self, field: str) -> None:
        shown = show(field)
        super().__init__(
            Kind.INVALID_MODEL,
            f"invalid GGUF file: {shown} lies beyond the bytes that were read",
            hint="read more of the file",
            details={"field": shown},
        )


def invalid(field: str, problem: str, *, hint: str | None = None) -> RunnerError:
    """Build the refusal of a file: ``field`` is what is wrong, ``problem`` how."""
    shown = show(field)
    return RunnerError(
        Kind.INVALID_MODEL,
        f"invalid GGUF file: {shown} {problem}",
        hint=hint or "the file is damaged or hostile; get it again from its source",
        details={"field": shown},
    )


def show(name: str | bytes) -> str:
    """Return a name from the file as ASCII in one line of bounded length."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return ascii(text[:MAX_SHOWN_CHARACTERS])[1:-1]
