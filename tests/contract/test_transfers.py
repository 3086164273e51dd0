"""Docker Model Runner's routes that move models (dmr-contract.md 1.4)."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.service import LayerProgress, Note, Planned
from tests.support.fake_engine import stored
from tests.support.fake_service import JSON_FIELD, Answer, Site, render_request, serving
from tests.support.fake_transfers import HANG

A, B = Digest.of(b"a"), Digest.of(b"b")
JSON = "Accept: application/json"
MIB = 1024 * 1024


def run(test: Callable[[Site], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with serving(**options) as site, asyncio.timeout(20):
            await test(site)

    asyncio.run(main())


def lines(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.body.splitlines()]


def planned(done_bytes: int = 0) -> Planned:
    return Planned(
        (
            LayerProgress(A, 24 * MIB, done_bytes),
            LayerProgress(B, MIB, MIB, is_present=True),
        )
    )


@dataclass(frozen=True)
class Asked:
    """A pull whose answer is being read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def until(self, part: bytes) -> None:
        await self.reader.readuntil(part)

    async def rest(self) -> bytes:
        return await self.reader.read()

    def leave(self) -> None:
        self.writer.close()


async def ask(site: Site, **body: Any) -> Asked:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    request = json.dumps(body).encode()
    writer.write(render_request("POST", "/models/create", JSON_FIELD, JSON, body=request))
    return Asked(reader, writer)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# ---- lines -----------------------------------------------------------------------------------


def test_a_pull_tells_each_layer_and_the_end_to_the_byte() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["ai/x"] = [planned(12 * MIB)]
        answer = await site.post("/models/create", {"from": "ai/x"}, JSON)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.body.decode() == (
            '{"type":"progress","message":"Downloaded: 12.00 MB","total":26214400,'
            f'"layer":{{"id":"{A}","size":25165824,"current":12582912}},"mode":"pull"}}\n'
            '{"type":"progress","message":"Downloaded: 1.00 MB","total":26214400,'
            f'"layer":{{"id":"{B}","size":1048576,"current":1048576,"present":true}},'
            '"mode":"pull"}\n'
            '{"type":"success","message":"Model pulled successfully","total":0,'
            '"layer":{"size":0,"current":0},"mode":"pull"}\n'
        )

    run(test)


def test_lines_are_escaped_unless_json_is_asked_for_by_name() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["ai/x"] = [Note("it's <b> & ü"), planned()]
        for fields in ((), ("Accept: */*",), ("Accept: application/json, text/plain",)):
            plain = await site.post("/models/create", {"from": "ai/x"}, *fields)
            assert plain.headers["content-type"] == "text/plain; charset=utf-8"
            assert plain.body.startswith(
                b"{&#34;type&#34;:&#34;progress&#34;,&#34;message&#34;:"
                b"&#34;it&#39;s &lt;b&gt; &amp; \xc3\xbc&#34;,"
            )
        asked = await site.post("/models/create", {"from": "ai/x"}, JSON)
        assert html.unescape(plain.body.decode()) == asked.body.decode()

    run(test)


def test_notes_warnings_and_resumed_bytes_are_told() -> None:
    async def test(site: Site) -> None:
        layer = LayerProgress(A, 10 * MIB, 6 * MIB, resumed_bytes=5 * MIB)
        site.client.scripts["ai/x"] = [
            Note("Selected Q4_K_M quantization (default)"),
            Note("the tag moved", is_warning=True),
            Planned((layer,)),
        ]
        answer = await site.post("/models/create", {"from": "ai/x"}, JSON)
        note, warning, progress, _ = lines(answer)
        assert note == {
            "type": "progress",
            "message": "Selected Q4_K_M quantization (default)",
            "total": 0,
            "layer": {"size": 0, "current": 0},
            "mode": "pull",
        }
        assert (warning["type"], warning["message"]) == ("warning", "the tag moved")
        assert progress["layer"]["resumed"] == 5 * MIB

    run(test)


def test_a_stored_model_is_told_to_be_cached() -> None:
    async def test(site: Site) -> None:
        site.client.stored["ai/x"] = stored("x")
        answer = await site.post("/models/create", {"from": "ai/x"}, JSON)
        assert lines(answer)[-1]["message"].startswith("Using cached model: ")

    run(test)


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.INVALID_REFERENCE, 400),
        (Kind.REGISTRY_DENIED, 401),
        (Kind.MODEL_NOT_FOUND, 404),
        (Kind.INVALID_MODEL, 422),
        (Kind.RATE_LIMITED, 429),
        (Kind.REGISTRY_UNAVAILABLE, 502),
        (Kind.INTEGRITY, 502),
        (Kind.DISK_FULL, 507),
    ],
)
def test_a_failure_before_the_first_line_is_a_status(kind: Kind, status: int) -> None:
    async def test(site: Site) -> None:
        site.client.scripts["ai/x"] = [RunnerError(kind, "it failed", hint="do this")]
        answer = await site.post("/models/create", {"from": "ai/x"})
        assert (answer.status, answer.error["code"]) == (status, kind.value)
        assert "www-authenticate" not in answer.headers  # not our key, but the registry's

    run(test)


def test_a_failure_after_the_first_line_is_a_line() -> None:
    async def test(site: Site) -> None:
        site.client.go_on.clear()
        site.client.scripts["ai/x"] = [planned(), RunnerError(Kind.DISK_FULL, "it is full")]
        reader = await ask(site, **{"from": "ai/x"})
        await reader.until(b'"progress"')
        site.client.go_on.set()
        rest = (await reader.rest()).split(b"\r\n")
        last = json.loads(next(line for line in rest if b'"error"' in line))
        assert last == {
            "type": "error",
            "message": "Error: it is full",
            "total": 0,
            "layer": {"size": 0, "current": 0},
            "mode": "pull",
            "code": "disk_full",
        }
        reader.leave()

    run(test)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "from"),
        ({"from": "  "}, "from"),
        ({"from": 7}, "from"),
        ({"from": "x", "bearer-token": "a\r\nb"}, "bearer-token"),
        ({"from": "x", "bearer-token": 7}, "bearer-token"),
    ],
)
def test_a_wrong_pull_is_named(body: dict[str, Any], param: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/models/create", body)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert "a\r" not in answer.body.decode()

    run(test)


def test_the_token_of_a_request_is_handed_on() -> None:
    async def test(site: Site) -> None:
        await site.post("/models/create", {"from": "hf.co/a/b", "bearer-token": "hf_secret"})
        assert site.client.asked == [("pull", "hf.co/a/b", "hf_secret")]

    run(test)


# ---- sharing ---------------------------------------------------------------------------------


def test_two_clients_share_a_pull_and_the_second_sees_the_progress_so_far() -> None:
    async def test(site: Site) -> None:
        site.client.go_on.clear()
        site.client.scripts["x"] = [Note("chosen"), planned(MIB)]
        first = await ask(site, **{"from": "x"})
        await first.until(b'"current":1048576}')
        second = await ask(site, **{"from": "docker.io/ai/x:latest"})
        await second.until(b"chosen")
        await second.until(b'"current":1048576}')
        site.client.go_on.set()
        for reader in (first, second):
            assert b"Model pulled successfully" in await reader.rest()
            reader.leave()
        assert len(site.client.asked) == 1

    run(test)


def test_another_token_is_another_pull() -> None:
    async def test(site: Site) -> None:
        site.client.go_on.clear()
        readers = [await ask(site, **{"from": "x", "bearer-token": token}) for token in ("a", "b")]
        await until(lambda: len(site.client.asked) == 2)
        site.client.go_on.set()
        for reader in readers:
            await reader.rest()
            reader.leave()

    run(test)


def test_e5_a_client_that_vanishes_leaves_the_others_their_pull() -> None:
    async def test(site: Site) -> None:
        site.client.go_on.clear()
        site.client.scripts["x"] = [planned(MIB)]
        first = await ask(site, **{"from": "x"})
        await first.until(b'"current":1048576}')
        second = await ask(site, **{"from": "x"})
        await second.until(b'"current":1048576}')
        first.leave()
        await asyncio.sleep(0.05)
        site.client.go_on.set()
        assert b"Model pulled successfully" in await second.rest()
        second.leave()

    run(test)


def test_e5_the_last_client_to_vanish_ends_the_pull() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["x"] = [HANG]
        reader = await ask(site, **{"from": "x"})
        await reader.until(b"hanging")
        reader.leave()
        await until(lambda: site.client.cancelled == ["x"])

    run(test)


def test_pulls_beyond_the_bound_wait_and_say_so() -> None:
    async def test(site: Site) -> None:
        for name in ("a", "b"):
            site.client.scripts[name] = [HANG]
        site.client.stored["ai/cached"] = stored("x")
        readers = [await ask(site, **{"from": name}) for name in ("a", "b")]
        for reader in readers:
            await reader.until(b"hanging")
        third = await ask(site, **{"from": "c"})
        await third.until(b"Waiting: 2 other transfers are running")
        cached = await site.post("/models/create", {"from": "ai/cached"}, JSON)
        assert lines(cached)[-1]["type"] == "success"
        readers[0].leave()
        assert b"Model pulled successfully" in await third.rest()
        readers[1].leave()
        third.leave()

    run(test)
