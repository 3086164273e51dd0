"""``/engines/requests``: recorded requests (dmr-contract.md 1.5 and 7.2)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runner.api import Policy, parse_keys
from runner.oci import Digest
from tests.support.fake_service import Site, chat_body, render_request, run

A, B = str(Digest.of(b"a")), str(Digest.of(b"b"))


async def listed(site: Site, query: str = "", *, count: int) -> list[dict[str, Any]]:
    """List when so many records are there: an answer may be read before it is kept."""
    while True:
        groups: list[dict[str, Any]] = (await site.send("GET", f"/engines/requests{query}")).json
        if sum(group["count"] for group in groups) >= count:
            return groups
        await asyncio.sleep(0)


def test_nothing_is_kept_unless_asked_for() -> None:
    async def test(site: Site) -> None:
        await site.chat("say secret")
        answer = await site.send("GET", "/engines/requests")
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert "--record-requests" in answer.error["message"]

    run(test)


def test_a_request_is_kept_with_its_texts() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/engines/requests")).json == []
        await site.chat("say one two", "User-Agent: curl/8", "Authorization: Bearer sk-secret")
        [group] = await listed(site, count=1)
        assert (group["count"], group["model"], group["config"]) == (1, A, {})
        [record] = group["records"]
        assert record["id"].startswith(f"{A}_")
        assert abs(record["timestamp"] - int(record["id"].rpartition("_")[2]) / 1e9) < 1
        request = json.loads(record["request"])
        response = json.loads(record["response"])
        assert request["messages"] == [{"role": "user", "content": "say one two"}]
        assert response["choices"][0]["message"]["content"] == "one two"
        assert {name: record[name] for name in record.keys() - {"id", "timestamp"}} == {
            "model": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "request": record["request"],
            "response": record["response"],
            "status_code": 200,
            "user_agent": "curl/8",
        }
        assert "sk-secret" not in json.dumps(group)

    run(test, record_requests=10)


def test_a_stream_is_kept_as_one_answer() -> None:
    async def test(site: Site) -> None:
        await site.chat("say one two", stream=True)
        [group] = await listed(site, count=1)
        response = json.loads(group["records"][0]["response"])
        assert response["object"] == "chat.completion"
        assert response["choices"][0]["message"]["content"] == "one two"
        assert response["choices"][0]["finish_reason"] == "stop"

    run(test, record_requests=10)


@pytest.mark.parametrize("is_stream", [False, True])
def test_errors_are_kept_instead_of_an_answer(is_stream: bool) -> None:
    async def test(site: Site) -> None:
        await site.chat("fail context_length_exceeded", stream=is_stream)
        await site.chat("die engine_crashed", stream=is_stream)
        [group] = await listed(site, count=2)
        early, late = group["records"]
        assert (early["status_code"], "response" in early) == (400, False)
        assert json.loads(early["error"])["error"]["code"] == "context_length_exceeded"
        assert json.loads(late["error"])["error"]["code"] == "engine_crashed"
        assert late["status_code"] == (200 if is_stream else 500)

    run(test, record_requests=10)


def test_a_client_that_leaves_is_a_499() -> None:
    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            body = json.dumps(chat_body("hang", stream=True)).encode()
            field = "Content-Type: application/json"
            writer.write(render_request("POST", "/v1/chat/completions", field, body=body))
            await reader.readuntil(b'"content":"first"')
        [group] = await listed(site, count=1)
        assert group["records"][0]["status_code"] == 499

    run(test, record_requests=10)


def test_the_newest_of_each_model_are_kept() -> None:
    async def test(site: Site) -> None:
        await site.chat("say b", model="b")
        for number in range(4):
            await site.chat(f"say {number}")
        await site.chat("say nothing", model="zz")  # no model, and no record
        while (groups := await listed(site, count=3))[-1]["count"] < 2 or "say 3" not in str(
            groups
        ):
            await asyncio.sleep(0)
        assert [(group["model"], group["count"]) for group in groups] == [(B, 1), (A, 2)]
        texts = [json.loads(r["request"])["messages"][0]["content"] for r in groups[1]["records"]]
        assert texts == ["say 2", "say 3"]
        [only] = await listed(site, "?model=b", count=1)
        assert only["model"] == B
        assert (await site.send("GET", "/engines/requests?model=zz")).json == []

    run(test, record_requests=2)


def test_other_dialects_name_their_origin() -> None:
    async def test(site: Site) -> None:
        message = [{"role": "user", "content": "say x"}]
        assert (await site.post("/api/show", {"model": "a"})).status == 200  # is no use: not kept
        await site.post("/api/chat", {"model": "a", "messages": message, "stream": False})
        body = {"model": "a", "messages": message, "max_tokens": 5}
        await site.post("/anthropic/v1/messages", body, "anthropic-version: 2023-06-01")
        [group] = await listed(site, count=2)
        assert [record["origin"] for record in group["records"]] == [
            "ollama/completion",
            "anthropic/messages",
        ]

    run(test, record_requests=10)


def test_following() -> None:
    async def test(site: Site) -> None:
        await site.chat("say old")
        await listed(site, count=1)
        async with site.connect() as (reader, writer):
            path = "/engines/requests?include_existing=true"
            writer.write(render_request("GET", path, "Accept: text/event-stream"))
            await reader.readuntil(b"event: existing_request\n")
            assert b"say old" in await reader.readuntil(b"\n\n")
            await reader.readuntil(b'event: connected\ndata: {"status": "connected"}\n\n')
            await site.chat("say new")
            await reader.readuntil(b"event: new_request\n")
            [group] = json.loads((await reader.readuntil(b"\n\n")).removeprefix(b"data: "))
            assert (group["count"], group["model"], len(group["records"])) == (1, A, 1)
            assert "say new" in group["records"][0]["request"]

    run(test, record_requests=10)


def test_a_follower_does_not_hold_up_a_stop() -> None:
    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/engines/requests", "Accept: text/event-stream"))
            await reader.readuntil(b"event: connected\n")
            async with asyncio.timeout(20):
                await site.drain(3600.0)
            assert (await reader.read()).endswith(b"0\r\n\r\n")

    run(test, record_requests=10)


def test_texts_are_for_administrators() -> None:
    async def test(site: Site) -> None:
        for key, status in (("reader-key-123456", 403), ("owner-key-123456", 200)):
            field = f"Authorization: Bearer {key}"
            assert (await site.send("GET", "/engines/requests", field)).status == status

    keys = parse_keys(["reader-key-123456:infer+manage", "owner-key-123456:admin"])
    run(test, policy=Policy(keys=keys), record_requests=1)
