"""``requests``: what is recorded, at once or as it comes."""

from __future__ import annotations

import json

from tests.support.console import run_command

GROUP = {"count": 1, "model": "sha256:aa", "config": {}, "records": [{"request": "{}\x9b"}]}


def event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def test_what_is_kept_is_json() -> None:
    code, out, _, remote = run_command(
        {"GET /engines/requests?model=ai%2Fa": [GROUP]}, "requests", "--model", "ai/a"
    )
    assert (code, json.loads(out)) == (0, [GROUP])
    assert remote.headers == []


def test_following_prints_a_line_for_each() -> None:
    stream = (
        event("existing_request", json.dumps([GROUP]))
        + event("connected", '{"status": "connected"}')
        + b":\n\n"
        + event("new_request", '[{"count":1,"x":"\x9b"}]')
    )
    pieces = [stream[:40], stream[40:]]
    code, out, err, remote = run_command(
        {"GET /engines/requests?include_existing=true": pieces},
        *("requests", "-f", "--include-existing"),
    )
    assert code == 0
    first, second = out.splitlines()
    assert json.loads(first) == [GROUP]
    assert second == '[{"count":1,"x":"\ufffd"}]'  # nothing reaches the terminal that acts on it
    assert err == ("Connected to request stream. Press Ctrl+C to stop.\nStream closed by server.\n")
    assert remote.headers == [("Accept", "text/event-stream")]


def test_what_is_kept_is_followed_only_with_follow() -> None:
    code, _, err, remote = run_command({}, "requests", "--include-existing")
    assert (code, remote.requests) == (2, [])
    assert "--follow" in err
