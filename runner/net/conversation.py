"""The task of one connection: takes its requests in order and has each one answered."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from runner import http
from runner.errors import Kind, RunnerError
from runner.net.access import AccessRecord
from runner.net.exchange import Exchange
from runner.net.session import Session
from runner.net.site import Site

_log = logging.getLogger(__name__)

_CODES = {
    405: Kind.METHOD_NOT_ALLOWED,
    408: Kind.TIMEOUT,
    500: Kind.INTERNAL,
    503: Kind.BUSY,
}
_QUIET = frozenset({Kind.CANCELLED, Kind.TIMEOUT})


async def converse(session: Session, site: Site) -> None:
    """Answer the requests of a connection, one after the other, and close it."""
    connection = session.http
    patience_s = site.limits.head_s
    try:
        while (request := await _next_request(session, patience_s)) is not None:
            await _serve(Exchange(session, site, request), session, site)
            if not connection.may_cycle or session.is_lost or site.is_draining:
                return
            connection.next_cycle()
            patience_s = site.limits.idle_s
    except http.ProtocolError as fault:
        refuse(session, site, fault)
    finally:
        session.close()


def refuse(
    session: Session,
    site: Site,
    fault: http.ProtocolError,
    *,
    headers: tuple[tuple[str, str], ...] = (),
) -> None:
    """Answer a peer that sent no request that could be understood, and close."""
    request_id = site.new_request_id()
    session.http.abandon(fault)
    body = _render_fault(fault)
    fields = [*_fault_headers(fault), *headers, *site.standard_fields(request_id)]
    session.write(session.http.send_response(fault.status, fields, body=body, close=True))
    session.close()
    if site.access_log is not None:
        site.access_log(
            AccessRecord(session.peer, "-", "-", fault.status, len(body), 0.0, request_id, "")
        )


async def _next_request(session: Session, patience_s: float) -> http.Request | None:
    """Return the next request, or None when the peer is done. Raise ``http.ProtocolError``."""
    connection = session.http
    event = connection.next_event()
    if event is not http.NEED_DATA:
        await asyncio.sleep(0)  # a long pipeline must not keep other clients waiting
    elif not connection.buffered_bytes:
        session.idle_since_s = time.monotonic()
        await session.more(session.idle_since_s + patience_s)
        session.idle_since_s = None
        event = connection.next_event()
    if event is http.NEED_DATA:
        deadline_s = time.monotonic() + session.limits.head_s
        while event is http.NEED_DATA:
            await session.more(deadline_s, late="the head of the request took too long")
            event = connection.next_event()
    return event if isinstance(event, http.Request) else None


async def _serve(exchange: Exchange, session: Session, site: Site) -> None:
    """Have one request answered, whatever its handler does, and tell the access log."""
    started_s = time.monotonic()
    try:
        await _handle(exchange, site)
    finally:
        stream = exchange.stream
        if stream is not None and not stream.is_finished:
            session.beat = None
            if exchange.request.version == (1, 0):
                session.abort()  # a mere close would look like the end of a whole body
        if site.access_log is not None:
            site.access_log(_record(exchange, time.monotonic() - started_s))


async def _handle(exchange: Exchange, site: Site) -> None:
    try:
        await site.handler(exchange)
    except RunnerError as error:
        await _answer_error(exchange, site, error)
    except http.ProtocolError as fault:
        await _answer_fault(exchange, fault)
    except Exception:
        _log.exception(
            "request %s: the handler failed", exchange.request_id, extra=_facts(exchange)
        )
        await _answer_error(exchange, site, _internal_error(exchange))
    else:
        if not exchange.is_answered:
            _log.error(
                "request %s: the handler gave no answer",
                exchange.request_id,
                extra=_facts(exchange),
            )
            await _answer_error(exchange, site, _internal_error(exchange))


async def _answer_fault(exchange: Exchange, fault: http.ProtocolError) -> None:
    if exchange.is_answered:
        return
    try:
        await exchange.respond(fault.status, _fault_headers(fault), _render_fault(fault))
    except RunnerError:
        return  # nobody is there to hear it


async def _answer_error(exchange: Exchange, site: Site, error: RunnerError) -> None:
    if exchange.is_answered:
        if error.kind not in _QUIET:
            _log.warning(
                "request %s: cut off: %s", exchange.request_id, error, extra=_facts(exchange)
            )
        return
    try:
        await site.on_error(exchange, error)
    except RunnerError:
        return  # nobody is there to hear it
    except Exception:
        _log.exception(
            "request %s: the error could not be told", exchange.request_id, extra=_facts(exchange)
        )
        if not exchange.is_answered:
            await _answer_fault(exchange, http.ProtocolError(500, "internal error"))


def _facts(exchange: Exchange) -> dict[str, dict[str, str]]:
    """Return what a structured log (``runner.logs``) finds a record by."""
    return {"facts": {"request_id": exchange.request_id}}


def _internal_error(exchange: Exchange) -> RunnerError:
    return RunnerError(
        Kind.INTERNAL,
        "an internal error",
        hint=f"the log tells more under request id {exchange.request_id}",
    )


def _render_fault(fault: http.ProtocolError) -> bytes:
    error = {
        "message": fault.message,
        "type": "invalid_request_error" if fault.status < 500 else "server_error",
        "param": None,
        "code": _CODES.get(fault.status, Kind.INVALID_REQUEST),
    }
    return json.dumps({"error": error}).encode()


def _fault_headers(fault: http.ProtocolError) -> list[tuple[str, str]]:
    headers = [("Content-Type", "application/json")]
    if fault.status == 405:
        headers.append(("Allow", ""))  # RFC 9110 §10.2.1: the target allows no method at all
    return headers


def _record(exchange: Exchange, duration_s: float) -> AccessRecord:
    request = exchange.request
    status = 499 if exchange.status is None else exchange.status
    return AccessRecord(
        exchange.peer,
        http.escape(request.method),
        http.escape(request.target),
        status,
        0 if request.method == "HEAD" else exchange.sent_bytes,
        duration_s,
        exchange.request_id,
        http.escape(request.headers.get("user-agent", "")),
    )
