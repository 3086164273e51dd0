"""Request heads as the HTTP layer would give them."""

from __future__ import annotations

from runner import http
from runner.http.target import parse_host, parse_target


def head(method: str = "GET", target: str = "/v1/models", *fields: tuple[str, str]) -> http.Request:
    """A request with a Host of ours, unless ``fields`` has one."""
    headers = http.Headers(fields)
    if "host" not in headers:
        headers = http.Headers([("Host", "localhost:12434"), *fields])
    parts = parse_target(method, target)
    host = parts.host or parse_host(headers.get("host") or "")
    return http.Request(
        method, target, parts.path, parts.raw_path, parts.query, headers, (1, 1), host
    )


def post(*fields: tuple[str, str], target: str = "/v1/chat/completions") -> http.Request:
    """A request with a body."""
    return head("POST", target, ("Content-Length", "2"), *fields)
