"""The daemon's sockets: an asyncio shell around ``runner.http`` that serves one handler.

One connection is one :class:`asyncio.BufferedProtocol` and one task; the task takes the requests
of the connection in order, so pipelined requests are answered in order. What a handler may rely on:

- ``await handler(exchange)`` is called once a request. It reads the body with
  ``exchange.read_body(limit_bytes)`` (or does not), and answers once: ``exchange.respond(...)`` or
  ``exchange.open_stream(...)`` and then ``stream.finish()``.
- A ``RunnerError`` raised before the head was sent goes to ``on_error(exchange, error)``, which
  answers it. Any other exception is logged with its traceback and handed to ``on_error`` as
  ``Kind.INTERNAL``. After the head was sent the connection is cut, so that the client cannot take
  a broken answer for a whole one.
- ``http.ProtocolError`` raised by ``read_body`` (malformed body, too slow: 408) must pass through
  the handler: net answers it and closes.
- ``exchange.wait_gone()`` ends when the client has left. Net does not cancel the handler for it.
- Whatever waits has a deadline in :class:`Limits`; one timer a server checks them all.
- When a drain runs out of patience the handler's task is cancelled; a handler that catches
  ``CancelledError`` has a second to send its last words, and must raise it again.

Not here: routes, JSON, keys, CORS. Those are ``runner.api``.
"""

from __future__ import annotations

from runner.net.access import AccessRecord
from runner.net.exchange import Exchange
from runner.net.inherited import Inherited, notify_ready, take_inherited
from runner.net.interfaces import find_addresses
from runner.net.limits import Limits
from runner.net.server import Server
from runner.net.site import AccessLog, Handler, OnError
from runner.net.stream import Stream

__all__ = [
    "AccessLog",
    "AccessRecord",
    "Exchange",
    "Handler",
    "Inherited",
    "Limits",
    "OnError",
    "Server",
    "Stream",
    "find_addresses",
    "notify_ready",
    "take_inherited",
]
