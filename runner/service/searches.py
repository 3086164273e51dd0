"""What workers report of their searches for better settings: kept where it can be trusted."""

from __future__ import annotations

from collections.abc import Callable

from runner.service.chores import Chores
from runner.service.tuning import WORTH_RELOADING, Tuning
from runner.wire.messages import EngineWishes, Measured, Tuned


class Searches:
    """Hears the reports of all loaded models."""

    def __init__(self, tuning: Tuning | None, chores: Chores) -> None:
        """Without ``tuning`` nothing is kept."""
        self._tuning = tuning
        self._chores = chores

    def listener(
        self, model_id: str, wishes: EngineWishes, on_better: Callable[[], None]
    ) -> Callable[[Measured | Tuned], None]:
        """Return what hears one worker.

        ``on_better`` is called when settings are kept that are worth another load.
        """
        measured: list[Measured] = []  # of the search that runs

        async def keep(tuning: Tuning, report: Tuned, found: tuple[Measured, ...]) -> None:
            await tuning.keep(model_id, wishes, report, found)
            if report.gain >= WORTH_RELOADING:
                on_better()

        def hear(report: Measured | Tuned) -> None:
            if isinstance(report, Measured):
                measured.append(report)
                return
            found = tuple(measured)
            measured.clear()
            is_sound = report.settings is not None and not report.is_disturbed
            if self._tuning is not None and is_sound:  # beside other work anything may seem faster
                self._chores.do(keep(self._tuning, report, found))

        return hear
