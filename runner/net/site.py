"""What all connections of one server share, and what each response of it carries."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from runner.errors import RunnerError
from runner.net.access import AccessRecord
from runner.net.limits import Limits

if TYPE_CHECKING:
    from runner.net.exchange import Exchange

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Handler(Protocol):
    """Answers one exchange; the package's docstring tells what it may rely on."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer ``exchange``."""


OnError = Callable[["Exchange", RunnerError], Awaitable[None]]
AccessLog = Callable[[AccessRecord], None]


class Site:
    """Handler, limits and the small services that every connection needs."""

    def __init__(
        self, handler: Handler, limits: Limits, *, on_error: OnError, access_log: AccessLog | None
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.on_error = on_error
        self.access_log = access_log
        self.draining = asyncio.Event()  # no connection lives on after the response it is at
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._date = ""
        self._date_of_s = 0

    @property
    def is_draining(self) -> bool:
        """Whether the server is being stopped."""
        return self.draining.is_set()

    def new_request_id(self) -> str:
        """Make an id that no other request of this machine is likely to have."""
        return f"{self._prefix}-{next(self._numbers)}"

    def standard_fields(self, request_id: str) -> list[tuple[str, str]]:
        """Return the fields of every response. The date is rendered once a second."""
        now_s = int(time.time())
        if now_s != self._date_of_s:
            self._date = http_date(now_s)
            self._date_of_s = now_s
        return [("Date", self._date), ("Server", "runner"), ("X-Request-Id", request_id)]


def http_date(time_s: int) -> str:
    """Render a time as an IMF-fixdate (RFC 9110 §5.6.7), in English whatever the locale."""
    t = time.gmtime(time_s)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )
