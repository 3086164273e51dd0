"""Docker Model Runner's routes that move models (dmr-contract.md 1.4)."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.api import Policy, parse_keys
from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.registry.doctor import Step, Verdict
from runner.registry.listing import Listed
from runner.service import (
    Diagnosis,
    Fit,
    Format,
    Found,
    LayerProgress,
    Note,
    PackageRequest,
    Planned,
    SearchResult,
)
from runner.transfer.search import Offer
from tests.support.fake_engine import stored
from tests.support.fake_service import JSON_FIELD, Site, lines, render_request, run
from tests.support.fake_transfers import HANG

A, B = Digest.of(b"a"), Digest.of(b"b")
JSON = "Accept: application/json"
MIB = 1024 * 1024


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


def test_the_total_follows_a_layer_that_costs_more_than_was_planned() -> None:
    async def test(site: Site) -> None:
        rest = LayerProgress(B, MIB, 0)
        site.client.scripts["ai/x"] = [
            Planned((LayerProgress(A, 10 * MIB, 0), rest)),
            LayerProgress(A, 20 * MIB, 15 * MIB),  # hashed, and now copied
        ]
        answer = await site.post("/models/create", {"from": "ai/x"}, JSON)
        told = [line for line in lines(answer) if line["layer"]["size"] == 20 * MIB]
        assert [(line["total"], line["layer"]["current"]) for line in told] == [
            (21 * MIB, 15 * MIB)
        ]

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
        await third.until(b"Waiting for one of 2 running transfers to end")
        cached = await site.post("/models/create", {"from": "ai/cached"}, JSON)
        assert lines(cached)[-1]["type"] == "success"
        readers[0].leave()
        assert b"Model pulled successfully" in await third.rest()
        readers[1].leave()
        third.leave()

    run(test)


# ---- pushes ----------------------------------------------------------------------------------


def test_a_push_needs_no_body_and_tells_what_is_uploaded() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["localhost:5000/me/x"] = [planned(12 * MIB)]
        answer = await site.send("POST", "/models/localhost:5000/me/x/push", JSON)
        told = lines(answer)
        assert (told[0]["message"], told[0]["mode"]) == ("Uploaded: 12.00 MB", "push")
        assert (told[-1]["message"], told[-1]["mode"]) == ("Model pushed successfully", "push")
        await site.post("/models/localhost:5000/me/x/push", {"bearer-token": "t"})
        assert site.client.asked == [
            ("push", "localhost:5000/me/x", None),
            ("push", "localhost:5000/me/x", "t"),
        ]

    run(test)


# ---- archives --------------------------------------------------------------------------------

TAR = "Content-Type: application/x-tar"


def test_an_export_is_an_archive_named_after_the_model() -> None:
    async def test(site: Site) -> None:
        site.client.content = bytes(range(256)) * 20_000
        answer = await site.send("GET", "/models/ai/x:1/export")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-tar")
        assert answer.headers["content-disposition"] == 'attachment; filename="ai/x:1.tar"'
        assert answer.body == site.client.content
        named = await site.send("GET", "/models/a%22b/export?layout=oci")
        assert named.headers["content-disposition"] == 'attachment; filename="a_b.tar"'
        assert site.client.asked == [("save", "ai/x:1", "docker"), ("save", 'a"b', "oci")]
        assert (await site.send("GET", "/models/x/export?layout=zip")).error["param"] == "layout"

    run(test)


def test_an_export_that_fails_has_a_status_or_no_end() -> None:
    async def test(site: Site) -> None:
        error = RunnerError(Kind.INTEGRITY, "a blob is damaged")
        site.client.scripts["x"] = [error]
        site.client.content = b""
        early = await site.send("GET", "/models/x/export")
        assert (early.status, early.error["code"]) == (502, "digest_mismatch")
        site.client.content = b"some"
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/models/x/export"))
            data = await reader.read()
        assert b"some" in data
        assert not data.endswith(b"0\r\n\r\n")

    run(test)


def test_a_client_that_leaves_ends_its_export() -> None:
    async def test(site: Site) -> None:
        site.client.content = b"x" * (64 * MIB)
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/models/x/export"))
            await reader.readexactly(1000)
        assert (await site.send("GET", "/livez")).status == 200

    run(test)


@pytest.mark.parametrize("field", [TAR, JSON_FIELD, "Content-Type: application/octet-stream"])
def test_an_archive_of_any_size_is_loaded(field: str) -> None:
    async def test(site: Site) -> None:
        body = b"x" * (3 * MIB + 7)
        answer = await site.send("POST", "/models/load", field, JSON, body=body)
        [line] = lines(answer)
        assert (line["type"], line["message"]) == ("success", "Model loaded successfully")
        assert line["models"] == [{"id": str(A), "tags": ["docker.io/ai/a:latest"]}]
        assert site.client.asked == [("load", len(body))]

    run(test, max_body_bytes=1000)


def test_an_archive_is_loaded_in_chunks() -> None:
    async def test(site: Site) -> None:
        head = ("POST /models/load HTTP/1.1", "Host: localhost", TAR, "Transfer-Encoding: chunked")
        async with site.connect() as (reader, writer):
            writer.write("\r\n".join([*head, "", ""]).encode())
            for _ in range(100):
                writer.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await reader.readuntil(b"Model loaded successfully")
        assert site.client.asked == [("load", 100 * 0x2000)]

    run(test)


def test_what_is_no_archive_is_refused_and_its_rest_not_read() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/models/load", TAR, body=b"bad" + b"x" * MIB)
        assert (answer.status, answer.error["code"]) == (422, "invalid_model")
        form = "Content-Type: application/x-www-form-urlencoded"
        assert (await site.send("POST", "/models/load", form, body=b"x")).status == 415

    run(test)


def test_an_archive_that_is_cut_short_is_told() -> None:
    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            head = render_request("POST", "/models/load", TAR, body=b"x" * 1000)
            writer.write(head[:-500])
            writer.write_eof()
            answer = await reader.read()
        assert answer[9:12] in (b"400", b"499")  # a body without its end, or a client that left
        assert site.client.asked == []

    run(test)


# ---- packaging -------------------------------------------------------------------------------


def test_files_are_packaged_as_asked_and_the_model_is_told() -> None:
    async def test(site: Site) -> None:
        wanted = {
            "name": "me/x",
            "gguf": ["/m/1.gguf", "/m/2.gguf"],
            "licenses": ["/m/L"],
            "chat_template": "/m/t.jinja",
            "mmproj": "/m/p.gguf",
            "loras": ["/m/a.gguf"],
            "context_size": 512,
            "format": "cncf",
        }
        site.client.scripts["me/x"] = [planned(12 * MIB)]
        answer = await site.post("/models/package", wanted, JSON)
        told = lines(answer)
        assert (told[0]["message"], told[0]["mode"]) == ("Added: 12.00 MB", "package")
        assert told[-1]["models"] == [{"id": str(A), "tags": ["docker.io/ai/a:latest"]}]
        [(_, request, name)] = site.client.asked
        assert name == "me/x"
        assert request == PackageRequest(
            gguf=(Path("/m/1.gguf"), Path("/m/2.gguf")),
            licenses=(Path("/m/L"),),
            chat_template=Path("/m/t.jinja"),
            mmproj=Path("/m/p.gguf"),
            loras=(Path("/m/a.gguf"),),
            context_size=512,
            form=Format.CNCF,
        )

    run(test)


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"gguf": "/m/x.gguf"}, "name"),
        ({"gguf": "m/x.gguf", "name": "x"}, "gguf"),
        ({"gguf": "/m/x", "name": "x", "licenses": ["L"]}, "licenses[0]"),
        ({"gguf": "/m/x", "name": "x", "chat_template": 7}, "chat_template"),
        ({"gguf": "/m/x", "name": "x", "context_size": 0}, "context_size"),
        ({"gguf": "/m/x", "name": "x", "format": "zip"}, "format"),
        ({"safetensors_dir": "x", "name": "x"}, "safetensors_dir"),
    ],
)
def test_a_wrong_package_is_named(wanted: dict[str, Any], param: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/models/package", wanted)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert site.client.asked == []

    run(test)


def test_a_stored_model_is_repackaged_with_another_context() -> None:
    async def test(site: Site) -> None:
        wish = {"target": "org/x:8k", "context_size": 8192}
        answer = await site.post("/models/ai/x/repackage", wish)
        assert (answer.status, answer.json) == (
            201,
            {
                "message": 'Model repackaged successfully as "org/x:8k"',
                "source": "ai/x",
                "target": "org/x:8k",
            },
        )
        wanted = PackageRequest(from_model="ai/x", context_size=8192)
        assert site.client.asked == [("package", wanted, "org/x:8k")]
        assert (await site.post("/models/ai/x/repackage", {})).error["param"] == "target"

    run(test)


# ---- searching -------------------------------------------------------------------------------


def test_a_search_tells_what_is_known_of_each_row() -> None:
    async def test(site: Site) -> None:
        site.client.found = SearchResult(
            (
                Found(
                    name="hf.co/a/b-GGUF",
                    source="HuggingFace",
                    listed=Listed(name="a/b-GGUF", downloads=7, is_gated=True),
                    offer=Offer("Q4_K_M", 1000, ("Q4_K_M", "Q8_0")),
                    fit=Fit.YES,
                ),
                Found(name="ai/x", source="Docker Hub", listed=Listed(name="ai/x", stars=2)),
            ),
            ("Docker Hub is slow",),
        )
        answer = await site.send("GET", "/registries/search?term=b&limit=5&source=huggingface")
        assert answer.json == {
            "models": [
                {
                    "name": "hf.co/a/b-GGUF",
                    "source": "HuggingFace",
                    "quantization": "Q4_K_M",
                    "quantizations": ["Q4_K_M", "Q8_0"],
                    "size_bytes": 1000,
                    "fit": "yes",
                    "gated": True,
                    "downloads": 7,
                    "stars": 0,
                },
                {"name": "ai/x", "source": "Docker Hub", "downloads": 0, "stars": 2},
            ],
            "warnings": ["Docker Hub is slow"],
        }
        await site.send("GET", "/registries/search")
        assert site.client.asked == [("search", "b", 5, "huggingface"), ("search", "", 32, None)]
        assert (await site.send("GET", "/registries/search?limit=x")).error["param"] == "limit"

    run(test)


# ---- registries ------------------------------------------------------------------------------


def test_a_login_is_shown_to_the_registry_and_kept() -> None:
    async def test(site: Site) -> None:
        login = {"host": "r.example", "username": "ada", "password": "right"}
        answer = await site.post("/registries/login", login)
        assert answer.json == {"kept_in": "/home/ada/.docker/config.json"}
        refused = await site.post("/registries/login", login | {"password": "wr0ng"})
        assert (refused.status, refused.error["code"]) == (401, "registry_denied")
        assert "wr0ng" not in refused.body.decode()
        misshapen = await site.post("/registries/login", login | {"password": 271828})
        assert (misshapen.status, misshapen.error["param"]) == (400, "password")
        assert "271828" not in misshapen.body.decode()
        assert (await site.post("/registries/logout", {"host": "known"})).json == {"removed": True}
        assert (await site.post("/registries/logout", {})).json == {"removed": False}

    run(test)


def test_a_diagnosis_tells_each_step() -> None:
    async def test(site: Site) -> None:
        steps = (
            Step("dns", Verdict.PASSED, "10.0.0.1"),
            Step("tcp", Verdict.FAILED, "refused", "start it"),
            Step("tls", Verdict.SKIPPED),
        )
        site.client.diagnoses = [Diagnosis("r.example/x", steps, ("r.example",))]
        answer = await site.send("GET", "/registries/doctor?name=r.example%2Fx")
        assert answer.json == [
            {
                "target": "r.example/x",
                "healthy": False,
                "steps": [
                    {"name": "dns", "verdict": "passed", "detail": "10.0.0.1"},
                    {"name": "tcp", "verdict": "failed", "detail": "refused", "remedy": "start it"},
                    {"name": "tls", "verdict": "skipped", "detail": ""},
                ],
                "hosts": ["r.example"],
            }
        ]
        await site.send("GET", "/registries/doctor")
        assert site.client.asked == [("diagnose", "r.example/x"), ("diagnose", None)]

    run(test)


def test_a_remote_model_is_inspected_with_the_right_to_manage() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("GET", "/models/ai/x?remote=true", KEY)
        assert answer.json == {
            "id": str(Digest.of(b"r")),
            "created": 0,
            "config": {"architecture": "llama"},
        }
        assert (await site.send("GET", "/models/missing?remote", KEY)).status == 404
        weak = await site.send("GET", "/models/ai/x?remote=true", "X-Api-Key: reader-key-123456")
        assert (weak.status, weak.error["code"]) == (403, "forbidden")

    keys = parse_keys(["manager-key-123456:infer+manage", "reader-key-123456:infer"])
    run(test, policy=Policy(keys=keys))


KEY = "X-Api-Key: manager-key-123456"
