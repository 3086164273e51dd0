"""llama-server's own routes over the real server, under every prefix."""

from __future__ import annotations

from typing import Any

import pytest

from runner.wire.messages import AdapterScale, Beat, InfillPrompt, Snippet, TextPrompt
from tests.support.fake_service import Site, chat_body, run

PREFIXES = ["", "/engines", "/engines/llama.cpp"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_text_to_tokens_and_back(prefix: str) -> None:
    async def test(site: Site) -> None:
        body = {"model": "a", "content": "hé"}
        answer = await site.post(f"{prefix}/tokenize", body)
        assert answer.json == {"tokens": [104, 195, 169]}
        # Half a character is no text, so its bytes are told.
        answer = await site.post(f"{prefix}/tokenize", body | {"with_pieces": True})
        assert answer.json["tokens"] == [
            {"id": 104, "piece": "h"},
            {"id": 195, "piece": [195]},
            {"id": 169, "piece": [169]},
        ]
        body = {"model": "a", "tokens": [104, 195, 169]}
        answer = await site.post(f"{prefix}/detokenize", body)
        assert answer.json == {"content": "hé"}

    run(test)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_conversation_as_the_model_reads_it(prefix: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(f"{prefix}/apply-template", chat_body("hi"))
        assert answer.json == {"prompt": "<hi>"}
        failed = await site.post(f"{prefix}/apply-template", chat_body("fail"))
        assert (failed.status, failed.error["code"]) == (400, "template_error")
        assert site.engine.submitted == []

    run(test)


@pytest.mark.parametrize("prefix", ["/v1", "/engines/v1", "/engines/llama.cpp/v1", ""])
def test_a_conversation_is_counted_without_being_answered(prefix: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(f"{prefix}/chat/completions/input_tokens", chat_body("hello"))
        assert answer.json == {"object": "response.input_tokens", "input_tokens": 5}
        assert site.engine.submitted == []

    run(test)


def test_the_only_model_in_memory_need_not_be_named() -> None:
    async def test(site: Site) -> None:
        nobody = await site.post("/tokenize", {"content": "a"})
        assert (nobody.status, nobody.error["param"]) == (400, "model")
        await site.chat("say a")
        assert (await site.post("/tokenize", {"content": "a"})).json == {"tokens": [97]}
        messages = chat_body("hi")["messages"]
        assert (await site.post("/apply-template", {"messages": messages})).status == 200
        await site.post("/tokenize", {"model": "b", "content": "a"})
        two = await site.post("/tokenize", {"content": "a"})
        assert (two.status, two.error["param"]) == (400, "model")

    run(test)


@pytest.mark.parametrize(
    ("route", "members", "param"),
    [
        ("tokenize", {}, "content"),
        ("tokenize", {"content": [1]}, "content"),
        ("tokenize", {"content": "a", "add_special": 1}, "add_special"),
        ("detokenize", {}, "tokens"),
        ("detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("detokenize", {"tokens": [2**31]}, "tokens[0]"),
        ("detokenize", {"tokens": ["a"]}, "tokens[0]"),
        ("detokenize", {"tokens": [1] * (2**20 + 1)}, "tokens"),
        ("apply-template", {"messages": []}, "messages"),
        ("infill", {"input_suffix": "a"}, "input_prefix"),
        ("infill", {"input_prefix": "a"}, "input_suffix"),
        (
            "infill",
            {"input_prefix": "a", "input_suffix": "b", "input_extra": [1]},
            "input_extra[0]",
        ),
        (
            "infill",
            {"input_prefix": "a", "input_suffix": "b", "input_extra": [{}]},
            "input_extra[0].text",
        ),
        ("infill", {"input_prefix": "a", "input_suffix": "b", "id_slot": 1}, "id_slot"),
    ],
)
def test_what_is_wrong_is_named(route: str, members: dict[str, Any], param: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(f"/{route}", {"model": "a"} | members)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert site.spawn.engines == []

    run(test)


# ---- infill ----------------------------------------------------------------------------------

GAP = {"model": "a", "input_prefix": "say x y", "input_suffix": "z"}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_gap_is_filled(prefix: str) -> None:
    async def test(site: Site) -> None:
        more = {"prompt": "s", "input_extra": [{"filename": "f", "text": "t"}], "n_predict": 4}
        answer = await site.post(f"{prefix}/infill", GAP | more)
        body = answer.json
        assert (body["content"], body["stop"], body["stop_type"]) == ("x y", True, "eos")
        assert (body["tokens_predicted"], body["tokens_evaluated"]) == (2, 7)
        [submit] = site.engine.submitted
        assert submit.max_tokens == 4
        assert submit.prompt == InfillPrompt(
            prefix="say x y", suffix="z", start="s", extra=(Snippet(filename="f", text="t"),)
        )

    run(test)


def test_a_gap_is_filled_piece_by_piece() -> None:
    async def test(site: Site) -> None:
        *pieces, last = (await site.post("/infill", GAP | {"stream": True})).events
        assert [(one["content"], one["stop"]) for one in pieces] == [("x", False), (" y", False)]
        assert (last["content"], last["stop"], last["tokens_predicted"]) == ("", True, 2)

    run(test)


def test_a_model_that_fills_no_gaps_says_so() -> None:
    async def test(site: Site) -> None:
        for stream in (False, True):
            body = GAP | {"input_prefix": "fail model_not_supported", "stream": stream}
            answer = await site.post("/infill", body)
            assert (answer.status, answer.error["code"]) == (400, "model_not_supported")

    run(test)


# ---- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/completion", "/completions", "/engines/completion"])
def test_a_text_is_continued(path: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(path, {"model": "a", "prompt": "say x y", "n_probs": 1})
        body = answer.json
        assert (body["index"], body["content"], body["stop_type"]) == (0, "x y", "eos")
        told = [(one["token"], one["logprob"]) for one in body["completion_probabilities"]]
        assert told == [("x", -0.25), (" y", -0.25)]
        [submit] = site.engine.submitted
        assert submit.prompt == TextPrompt(text="say x y")
        assert submit.sampling.top_logprobs == 1

    run(test)


def test_several_texts_are_continued_in_their_order() -> None:
    async def test(site: Site) -> None:
        asked = {"model": "a", "prompt": ["say x", "say y"], "n_cmpl": 2}
        told = [
            (one["index"], one["content"]) for one in (await site.post("/completion", asked)).json
        ]
        assert told == [(0, "x"), (1, "x"), (2, "y"), (3, "y")]

    run(test)


def test_a_text_is_continued_piece_by_piece() -> None:
    async def test(site: Site) -> None:
        asked = {"model": "a", "prompt": "say x y", "stream": True, "n_probs": 1}
        *pieces, last = (await site.post("/completion", asked)).events
        told = [(one["content"], len(one["completion_probabilities"])) for one in pieces]
        assert told == [("x", 1), (" y", 1)]
        assert (last["content"], last["stop"], last["tokens_predicted"]) == ("", True, 2)
        assert "completion_probabilities" not in last

    run(test)


# ---- views -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_props_tell_of_a_model_in_memory(prefix: str) -> None:
    async def test(site: Site) -> None:
        await site.chat("say a")
        for target in (f"{prefix}/props", f"{prefix}/props?model=docker.io/ai/a:latest"):
            props = (await site.send("GET", target)).json
            assert props["model_alias"] == props["model_path"] == "docker.io/ai/a:latest"
            assert props["default_generation_settings"]["n_ctx"] == 64
            assert props["total_slots"] == 1
            assert props["chat_template"] == "{{ messages }}"
            assert props["build_info"] == "9.9"

    run(test)


def test_slots_tell_how_many_are_busy_and_not_with_what() -> None:
    async def test(site: Site) -> None:
        await site.chat("say a")
        slot = {"id": 0, "n_ctx": 64, "speculative": False, "is_processing": False}
        assert (await site.send("GET", "/slots")).json == [slot]
        site.engine.beat = BUSY
        assert (await site.send("GET", "/slots")).json == [slot | {"is_processing": True}]
        full = await site.send("GET", "/slots?fail_on_no_slot=1")
        assert (full.status, full.error["code"]) == (503, "server_busy")

    run(test)


def test_adapters_are_told_by_name() -> None:
    async def test(site: Site) -> None:
        await site.chat("say a")
        assert (await site.send("GET", "/lora-adapters")).json == [
            {
                "id": 0,
                "path": "law",
                "name": "law",
                "scale": 1.0,
                "task_name": "classify",
                "prompt_prefix": "",
            }
        ]

    run(test)


@pytest.mark.parametrize("route", ["v1/chat/completions", "v1/completions", "infill"])
def test_a_request_chooses_adapters(route: str) -> None:
    async def test(site: Site) -> None:
        lora = [{"name": "law", "scale": 0.5}]
        prompts = {"prompt": "say a", "input_prefix": "say a", "input_suffix": "b"}
        wanted = {
            "v1/chat/completions": ["messages"],
            "v1/completions": ["prompt"],
            "infill": ["input_prefix", "input_suffix"],
        }
        members = chat_body("say a") | prompts
        body = {name: members[name] for name in ["model", *wanted[route]]} | {"lora": lora}
        assert (await site.post(f"/{route}", body)).status == 200
        [submit] = site.engine.submitted
        assert submit.adapters == (AdapterScale("law", 0.5),)

    run(test)


def test_a_view_loads_nothing() -> None:
    async def test(site: Site) -> None:
        for target in ("/props?model=a", "/slots?model=a", "/lora-adapters?model=a"):
            answer = await site.send("GET", target)
            assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert (await site.send("GET", "/props")).status == 400
        assert site.spawn.engines == []
        assert (await site.send("POST", "/props")).status in (405, 415)

    run(test)


BUSY = Beat(
    step_running_s=0.0,
    running=1,
    waiting=0,
    cells_used=1,
    cells_total=64,
    prompt_tokens=1,
    cached_tokens=0,
    completion_tokens=1,
    steps=1,
    resident_bytes=1,
)
