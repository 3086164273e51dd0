"""Why a worker is gone, in words a person can act on. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from runner.errors import Kind, RunnerError
from runner.wire.messages import Failed, RequestId


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one worker process."""

    kind: Kind
    message: str
    hint: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    stderr: tuple[str, ...] = ()  # its last lines
    expected: bool = False  # we asked for it

    @property
    def details(self) -> dict[str, Any]:
        """What a program, or a bug report, may want to know."""
        facts = {"exit_code": self.exit_code, "signal": self.signal, "stderr": list(self.stderr)}
        return {name: value for name, value in facts.items() if value not in (None, [])}

    def failed(self, id: RequestId) -> Failed:
        """Render the last event of a request that was open when the worker died."""
        return Failed(
            id=id,
            kind=self.kind.value,
            message=self.message,
            hint=self.hint,
            details=self.details,
        )

    def error(self) -> RunnerError:
        """Render the death as an error."""
        return RunnerError(self.kind, self.message, hint=self.hint, details=self.details)


SIGNALS: dict[str, tuple[str, str | None]] = {
    "SIGKILL": (
        "was killed by the system, most likely because memory ran out",
        "use a smaller model or --context-size, or close other programs",
    ),
    "SIGILL": (
        "stopped at an instruction this CPU does not have",
        "rebuild the native library: python build_native.py --portable",
    ),
    "SIGBUS": (
        "could not read the model's file: it was cut or replaced while in use, or the disk failed",
        "check the disk, then add the model again",
    ),
    "SIGSEGV": ("crashed by a memory fault", None),
    "SIGABRT": ("gave up on an internal error", None),
    "SIGFPE": ("crashed by an arithmetic fault", None),
}

REPORT_HINT = "send the request again; if it stays, `runner logs` has the engine's last words"


def explain_exit(returncode: int, *, stderr: tuple[str, ...]) -> Death:
    """Name the cause of an exit nobody asked for, from the status as subprocess gives it."""
    if returncode >= 0:
        return Death(
            Kind.ENGINE_CRASHED,
            f"the engine process exited by itself with code {returncode}",
            hint=REPORT_HINT,
            exit_code=returncode,
            stderr=stderr,
        )
    name = signal_name(-returncode)
    words, hint = SIGNALS.get(name, ("was ended by a signal", None))
    return Death(
        Kind.ENGINE_CRASHED,
        f"the engine process {words} ({name})",
        hint=hint or REPORT_HINT,
        signal=name,
        stderr=stderr,
    )


def signal_name(number: int) -> str:
    """Name a signal as C does."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def hung(message: str, *, stderr: tuple[str, ...]) -> Death:
    """Describe a worker that was killed because it no longer answered."""
    return Death(Kind.TIMEOUT, message, hint=REPORT_HINT, stderr=stderr)


def babbled(message: str, *, stderr: tuple[str, ...]) -> Death:
    """Describe a worker that was killed because it broke the protocol."""
    return Death(
        Kind.ENGINE_CRASHED,
        f"the engine process broke the protocol and was ended: {message}",
        hint=REPORT_HINT,
        stderr=stderr,
    )


def stopped() -> Death:
    """Describe a worker that ended because we asked it to."""
    return Death(
        Kind.UNAVAILABLE,
        "the model was unloaded before the answer was complete",
        hint="send the request again",
        expected=True,
    )
