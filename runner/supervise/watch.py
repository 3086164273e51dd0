"""Whether a worker still lives, decided from when it was heard. Pure: times come in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may keep us waiting, in seconds."""

    stall_s: float = 300.0  # loading without progress; the whole load may take longer
    silence_s: float = 15.0  # no message when loaded: three missed beats of an idle one
    step_s: float = 600.0  # one native step: a whole batch of a large model on a slow CPU
    input_s: float = 30.0  # not reading what we write
    exit_s: float = 2.0  # from being asked to end until the next, ruder way

    @property
    def check_s(self) -> float:
        """How often to look."""
        return min(5.0, self.stall_s / 4, self.silence_s / 4, self.input_s / 4)


class Watch:
    """Keeps the times of one worker's signs of life. All times are monotonic seconds."""

    def __init__(self, patience: Patience, *, now_s: float) -> None:
        self._patience = patience
        self._loading = True
        self._fraction = 0.0
        self._heard_s = now_s
        self._checked_s = now_s
        self._step_s = 0.0
        self._blocked_s: float | None = None

    def progressed(self, fraction: float, *, now_s: float) -> None:
        """Note load progress; the same fraction again is none."""
        if fraction > self._fraction:
            self._fraction, self._heard_s = fraction, now_s

    def loaded(self, *, now_s: float) -> None:
        """Note that the load is over: from here beats are expected."""
        self._loading, self._heard_s = False, now_s

    def heard(self, *, now_s: float) -> None:
        """Note a message of a loaded worker."""
        if not self._loading:
            self._heard_s = now_s

    def stepping(self, step_running_s: float) -> None:
        """Note what a beat says of the current native step."""
        self._step_s = step_running_s

    def blocked(self, is_blocked: bool, *, now_s: float) -> None:
        """Note whether the worker leaves its input unread."""
        self._blocked_s = now_s if is_blocked else None

    def verdict(self, *, now_s: float) -> str | None:
        """Say what is wrong, or None. To be asked every ``check_s``."""
        limits = self._patience
        late_s = now_s - self._checked_s - 2 * limits.check_s
        self._checked_s = now_s
        if late_s > 0:
            # We were away (a busy loop, a suspended machine): its messages wait in the pipe.
            self._heard_s += late_s
            self._blocked_s = None if self._blocked_s is None else self._blocked_s + late_s
        silent_s = now_s - self._heard_s
        if self._loading and silent_s > limits.stall_s:
            done = f"{self._fraction:.0%}"
            return f"the model's load stopped at {done}: no progress for {limits.stall_s:g} s"
        if not self._loading and silent_s > limits.silence_s:
            return f"the engine process hung: no sign of life for {limits.silence_s:g} s"
        if self._step_s > limits.step_s:
            return f"the engine hung: one step has run for more than {limits.step_s:g} s"
        if self._blocked_s is not None and now_s - self._blocked_s > limits.input_s:
            return f"the engine process hung: it read no input for {limits.input_s:g} s"
        return None
