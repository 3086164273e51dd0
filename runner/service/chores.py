"""Work in the background of a service, so that its end can wait for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Chores:
    """Tasks that nobody waits for one by one."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def do(self, chore: Coroutine[Any, Any, object]) -> None:
        """Begin one. It tells of its own failures: nobody else will."""
        task = asyncio.create_task(chore)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all, those included that begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)
