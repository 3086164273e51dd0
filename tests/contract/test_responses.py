"""The Responses API over the real server: what raw sockets and OpenAI's SDK see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from runner.api import Policy, parse_keys
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt
from tests.support.fake_service import (
    JSON_FIELD,
    Answer,
    Site,
    parse_answer,
    render_request,
    serving,
)

SAMPLES = Path(__file__).resolve().parents[1] / "wire_samples"
PREFIXES = ("", "/v1", "/engines", "/engines/v1", "/engines/llama.cpp/v1")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Runs a test against a server that keeps responses in a folder of this test."""

    def run(test: Callable[[Site], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            options.setdefault("responses_path", tmp_path / "responses")
            async with serving(**options) as site, asyncio.timeout(20):
                await test(site)

        asyncio.run(main())

    return run


async def create(site: Site, input: Any, *fields: str, **members: Any) -> Answer:
    return await site.post("/v1/responses", {"model": "a", "input": input, **members}, *fields)


async def get(site: Site, path: str, *fields: str) -> Answer:
    return await site.send("GET", f"/v1/responses/{path}", *fields)


def conversation(site: Site) -> list[tuple[str, str]]:
    """What the model was last told: roles and texts."""
    messages = json.loads(site.engine.submitted[-1].prompt.messages_json)  # type: ignore[union-attr]
    return [(message["role"], message["content"]) for message in messages]


def events(answer: Answer) -> list[Any]:
    blocks = answer.body.decode().strip().split("\n\n")
    return [json.loads(block.split("\ndata: ")[1]) for block in blocks]


# ---- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_whole_answer_under_every_prefix(run: Any, prefix: str) -> None:
    async def test(site: Site) -> None:
        body = {"model": "a", "input": "say Hello world", "colour": "red"}
        answer = await site.post(f"{prefix}/responses", body)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-ignored-fields"] == "colour"
        response = answer.json
        assert (response["status"], response["output_text"]) == ("completed", "Hello world")
        shown = await site.send("GET", f"{prefix}/responses/{response['id']}")
        assert (shown.status, shown.json) == (200, response)

    run(test)


def test_a_stream_ends_with_what_is_kept(run: Any) -> None:
    async def test(site: Site) -> None:
        answer = await create(site, "say Hello world", stream=True)
        assert answer.headers["content-type"] == "text/event-stream"
        last = events(answer)[-1]
        assert last["type"] == "response.completed"
        assert (await get(site, last["response"]["id"])).json == last["response"]

    run(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_a_status(run: Any, stream: bool) -> None:
    async def test(site: Site) -> None:
        answer = await create(site, "fail context_length_exceeded", stream=stream)
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        unknown = await site.post("/v1/responses", {"model": "zz", "input": "x", "stream": stream})
        assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")

    run(test)


def test_a_stream_that_breaks_says_so_and_what_was_said_is_kept(run: Any) -> None:
    async def test(site: Site) -> None:
        last = events(await create(site, "die engine_crashed", stream=True))[-1]
        assert last["type"] == "response.failed"
        assert last["response"]["error"] == {"code": "server_error", "message": "it died"}
        assert (await get(site, last["response"]["id"])).json["status"] == "failed"

    run(test)


def test_a_load_that_fails_after_the_head_is_a_stream_of_its_own(run: Any) -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        body = json.dumps({"model": "a", "input": "say x", "stream": True}).encode()
        async with site.connect() as (reader, writer):
            writer.write(render_request("POST", "/v1/responses", JSON_FIELD, body=body))
            head = await reader.readuntil(b"\r\n\r\n")
            site.spawn.error = RunnerError(Kind.LOAD_FAILED, "it does not load")
            site.spawn.loading.set()
            answer = parse_answer(head + await reader.read())
        assert answer.status == 200
        types = [event["type"] for event in events(answer)]
        assert types == ["response.created", "response.in_progress", "response.failed"]

    run(test, patience_s=0.01)


def test_the_second_request_of_a_turn_of_codex_is_answered(run: Any) -> None:
    """Recorded from Codex 0.169, less its texts: it sends what it was told, and keeps nothing."""
    body = json.loads((SAMPLES / "codex_request.json").read_bytes())

    async def test(site: Site) -> None:
        answer = await site.post("/v1/responses", body)
        ignored = "tools[].description, tools[3]:web_search, prompt_cache_key, client_metadata"
        assert (answer.status, answer.headers["x-ignored-fields"]) == (200, ignored)
        assert events(answer)[-1]["response"]["output_text"] == "hello from the tool"
        prompt = site.engine.submitted[-1].prompt
        assert isinstance(prompt, ChatPrompt)
        roles = [message["role"] for message in json.loads(prompt.messages_json)]
        assert roles == ["developer", "user", "user", "assistant", "tool"]
        thinking = json.loads(prompt.messages_json)[3]
        assert thinking["reasoning_content"] == "I should look."
        names = [tool["function"]["name"] for tool in json.loads(prompt.tools_json or "")]
        assert names == [
            "exec_command",
            "view_image",
            "multi_agent_v1__close_agent",
            "multi_agent_v1__resume_agent",
        ]
        shown = await get(site, events(answer)[-1]["response"]["id"])
        assert shown.status == 404

    run(test)


# ---- what came before ------------------------------------------------------------------------


def test_a_conversation_goes_on(run: Any) -> None:
    async def test(site: Site) -> None:
        first = (await create(site, "say one", instructions="be brief")).json
        second = (await create(site, "say two", previous_response_id=first["id"])).json
        assert second["previous_response_id"] == first["id"]
        await create(site, "say three", previous_response_id=second["id"])
        assert conversation(site) == [
            ("user", "say one"),
            ("assistant", "one"),
            ("user", "say two"),
            ("assistant", "two"),
            ("user", "say three"),
        ]

    run(test)


def test_a_conversation_goes_on_after_a_restart(run: Any) -> None:
    first: dict[str, Any] = {}

    async def before(site: Site) -> None:
        first.update((await create(site, "say one")).json)

    async def after(site: Site) -> None:
        answer = await create(site, "say two", previous_response_id=first["id"])
        assert answer.status == 200
        assert conversation(site)[:2] == [("user", "say one"), ("assistant", "one")]

    run(before)
    run(after)


def test_an_item_may_be_named_instead_of_sent(run: Any) -> None:
    async def test(site: Site) -> None:
        first = (await create(site, "say one")).json
        listed = (await get(site, f"{first['id']}/input_items")).json["data"]
        names = [listed[0]["id"], first["output"][0]["id"]]
        items = [{"type": "item_reference", "id": name} for name in names]
        await create(site, [*items, {"role": "user", "content": "say two"}])
        assert conversation(site) == [
            ("user", "say one"),
            ("assistant", "one"),
            ("user", "say two"),
        ]
        for name in ("msg_1", names[0][:-1] + "9", "msg_" + "0" * 36):
            wrong = await create(site, [{"type": "item_reference", "id": name}])
            assert (wrong.status, wrong.error["param"]) == (404, "input[0].id")

    run(test)


def test_an_item_is_named_once(run: Any) -> None:
    """A name is short and an item may be long: ten thousand of them would be more than memory."""

    async def test(site: Site) -> None:
        first = (await create(site, "say one")).json
        name = {"type": "item_reference", "id": first["output"][0]["id"]}
        wrong = await create(site, [name, {"role": "user", "content": "say two"}, name])
        assert (wrong.status, wrong.error["param"]) == (400, "input[2].id")

    run(test)


def test_b17_what_is_not_kept_cannot_be_gone_on_from(run: Any) -> None:
    async def test(site: Site) -> None:
        unkept = (await create(site, "say one", store=False)).json
        deleted = (await create(site, "say one")).json
        gone = await site.send("DELETE", f"/v1/responses/{deleted['id']}")
        assert gone.json == {"id": deleted["id"], "object": "response", "deleted": True}
        for id in (unkept["id"], deleted["id"], "resp_1", "../../etc/passwd"):
            answer = await create(site, "say two", previous_response_id=id)
            assert (answer.status, answer.error["param"]) == (404, "previous_response_id")
            assert (await get(site, id)).status in (400, 404)
            again = await site.send("DELETE", f"/v1/responses/{id}")
            assert again.status in (400, 404)

    run(test)


def test_b17_a_response_is_private_to_its_key(run: Any) -> None:
    mine, other = "Authorization: Bearer mine", "Authorization: Bearer other"

    async def test(site: Site) -> None:
        id = (await create(site, "say one", mine)).json["id"]
        assert (await get(site, id, mine)).status == 200
        for path in (id, f"{id}/input_items"):
            assert (await get(site, path, other)).status == 404
            assert (await get(site, path)).status == 401
        answer = await create(site, "say two", other, previous_response_id=id)
        assert (answer.status, answer.error["param"]) == (404, "previous_response_id")
        assert (await site.send("DELETE", f"/v1/responses/{id}", other)).status == 404
        assert (await get(site, id, mine)).status == 200

    run(test, policy=Policy(keys=parse_keys(["mine", "other"])))


# ---- the other routes ------------------------------------------------------------------------


def test_input_items_are_listed_page_by_page(run: Any) -> None:
    async def test(site: Site) -> None:
        first = (await create(site, "say one")).json
        second = (await create(site, "say two", previous_response_id=first["id"])).json
        path = f"{second['id']}/input_items"
        whole = (await get(site, path)).json
        texts = [item["content"][0]["text"] for item in whole["data"]]
        assert texts == ["say two", "one", "say one"]
        assert (whole["object"], whole["has_more"]) == ("list", False)
        page = (await get(site, f"{path}?limit=2&order=asc")).json
        assert [item["content"][0]["text"] for item in page["data"]] == ["say one", "one"]
        assert (page["has_more"], page["last_id"]) == (True, first["output"][0]["id"])
        rest = (await get(site, f"{path}?limit=2&order=asc&after={page['last_id']}")).json
        assert [item["content"][0]["text"] for item in rest["data"]] == ["say two"]
        for wrong in ("limit=0", "limit=x", "limit=101", "order=up", "after=msg_1"):
            answer = await get(site, f"{path}?{wrong}")
            assert (answer.status, answer.error["param"]) == (400, wrong.partition("=")[0])

    run(test)


def test_nothing_is_made_in_the_background(run: Any) -> None:
    async def test(site: Site) -> None:
        asked = await create(site, "say one", background=True)
        assert (asked.status, asked.error["param"]) == (400, "background")
        id = (await create(site, "say one")).json["id"]
        assert (await site.post(f"/v1/responses/{id}/cancel", {})).status == 400
        assert (await site.post("/v1/responses/resp_1/cancel", {})).status == 404

    run(test)


def test_a_response_is_told_again_as_events(run: Any) -> None:
    async def test(site: Site) -> None:
        id = (await create(site, "say one two")).json["id"]
        answer = await get(site, f"{id}?stream=true")
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.body.startswith(b"event: response.created\ndata: {")
        rest = await get(site, f"{id}?stream=true&starting_after=0")
        assert answer.body.endswith(rest.body)
        assert rest.body.startswith(b"event: response.in_progress\ndata: {")
        for wrong in ("-1", "x", "", "10000000000"):
            refused = await get(site, f"{id}?stream=true&starting_after={wrong}")
            assert (refused.status, refused.error["param"]) == (400, "starting_after")
        assert (await get(site, "resp_1?stream=true")).status == 404

    run(test)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_input_of_a_response_is_counted(run: Any, prefix: str) -> None:
    async def test(site: Site) -> None:
        body = {"model": "a", "input": "hello", "instructions": "be brief"}
        answer = await site.post(f"{prefix}/responses/input_tokens", body)
        assert answer.json == {"object": "response.input_tokens", "input_tokens": 5}
        wrong = await site.post(f"{prefix}/responses/input_tokens", {"model": "a"})
        assert (wrong.status, wrong.error["param"]) == (400, "input")
        assert site.engine.submitted == []

    run(test)


def test_docker_may_ask_to_load_and_no_more(run: Any) -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/responses", {"model": "a"}, "X-Preload-Only: true")
        assert (answer.status, answer.body) == (200, b"")
        assert len(site.spawn.engines) == 1

    run(test)


def test_the_sdk_keeps_and_finds_responses(run: Any) -> None:
    def work(client: openai.OpenAI) -> None:
        made = client.responses.create(model="a", input="say Hello world", metadata={"k": "v"})
        assert made.output_text == "Hello world"
        assert made.usage is not None
        assert made.usage.input_tokens_details.cached_tokens == 2
        found = client.responses.retrieve(made.id)
        assert (found.output_text, found.metadata) == ("Hello world", {"k": "v"})
        *_, last = client.responses.retrieve(made.id, stream=True, starting_after=2)
        assert last.type == "response.completed"
        assert last.response.output_text == "Hello world"
        again = client.responses.create(
            model="a", input="say more", previous_response_id=made.id, store=False
        )
        assert again.output_text == "more"
        [item] = client.responses.input_items.list(made.id)
        assert item.type == "message"
        client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)

    async def test(site: Site) -> None:
        url = f"http://127.0.0.1:{site.port}/v1"
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            await asyncio.to_thread(work, client)

    run(test)


def test_the_sdk_streams(run: Any) -> None:
    def work(client: openai.OpenAI) -> None:
        with client.responses.stream(model="a", input="say Hello world") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            response = stream.get_final_response()
        assert deltas == ["Hello", " world"]
        assert response.output_text == "Hello world"
        with (
            client.responses.stream(model="a", input="die engine_crashed") as broken,
            pytest.raises(RuntimeError),
        ):
            broken.until_done().get_final_response()

    async def test(site: Site) -> None:
        url = f"http://127.0.0.1:{site.port}/v1"
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            await asyncio.to_thread(work, client)

    run(test)
