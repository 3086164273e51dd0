"""Docker Model Runner's ``_configure`` routes (dmr-contract.md 1.5), and settings with origins."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.oci import Digest
from tests.support.fake_service import Site, run

A = str(Digest.of(b"a"))


CONFIGURE = "/engines/_configure"


async def loaded(site: Site, name: str) -> dict[str, Any]:
    """Wait until a model is in memory and idle, and return what its worker was told."""
    while not any(
        (model.name, model.phase, model.leases) == (name, "ready", 0)
        for model in site.engines.running()
    ):
        await asyncio.sleep(0.001)
    return msgspec.to_builtins(site.spawn.engines[-1].load.wishes)


def test_configure_takes_dockers_json_keeps_it_and_loads_the_model(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        body = {
            "model": "a",
            "mode": "completion",
            "context-size": 8192,
            "runtime-flags": ["--temp", "0.1", "--threads=3"],
            "raw-runtime-flags": "--temp 0.9",
            "keep_alive": "30m",
            "llamacpp": {"reasoning-budget": 0},
            "speculative": {"draft_model": "b", "num_tokens": 16, "min_acceptance_rate": 0.8},
        }
        answer = await site.post(CONFIGURE, body)
        assert (answer.status, answer.body) == (202, b"")
        ignored = "mode, speculative.num_tokens, speculative.min_acceptance_rate"
        assert answer.headers["x-ignored-fields"] == ignored
        wishes = await loaded(site, "a")
        assert (wishes["context_size"], wishes["threads"]) == (8192, 3)
        assert wishes["draft_model_path"] == "/models/b"
        kept = await site.send("GET", f"{CONFIGURE}?model=ai/a")
        assert kept.json == [
            {
                "Backend": "llama.cpp",
                "Model": "docker.io/ai/a:latest",
                "ModelID": A,
                "Mode": "completion",
                "Config": {
                    "context-size": 8192,
                    "keep_alive": "30m0s",
                    "speculative": {"draft_model": "b"},
                    "llamacpp": {"reasoning-budget": 0},
                    "runtime-flags": ["--threads", "3", "--temp", "0.1"],
                },
                "Origins": {
                    "keep_alive": "configure",
                    "draft_model": "configure",
                    "context_size": "configure",
                    "threads": "configure",
                    "temperature": "configure",
                    "reasoning_budget": "configure",
                },
            }
        ]
        assert (await site.send("GET", "/engines/llama.cpp/_configure")).json == kept.json
        assert (await site.send("GET", f"{CONFIGURE}?model=b")).json == []

    run(test, settings_path=tmp_path)


def test_a_change_keeps_the_rest_and_loads_the_idle_model_anew(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        await site.post(CONFIGURE, {"model": "a", "context-size": 512, "keep_alive": 60})
        await loaded(site, "a")
        await site.post(CONFIGURE, {"model": "a", "raw-runtime-flags": "-t 2"})
        while (await loaded(site, "a")).get("threads") != 2:
            await asyncio.sleep(0.001)
        assert (await loaded(site, "a"))["context_size"] == 512
        rows = (await site.send("GET", "/engines/settings/a")).json
        told = {row["name"]: (row["value"], row["origin"]) for row in rows}
        assert told["keep_alive"] == ("1m0s", "configure")
        assert told["context_size"] == (512, "configure")
        assert told["kv_layout"] == ("unified", "default")
        reset = await site.send("DELETE", f"{CONFIGURE}?model=a")
        assert (reset.status, reset.json) == (200, {"reset": True})
        while (await loaded(site, "a")).get("threads") == 2:
            await asyncio.sleep(0.001)
        assert (await site.send("DELETE", f"{CONFIGURE}?model=a")).json == {"reset": False}

    run(test, settings_path=tmp_path)


def test_another_keep_alive_and_temperature_need_no_new_load(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        assert (await site.chat("hi")).status == 200
        engine = site.spawn.engines[-1]
        flags = {"runtime-flags": ["--temp", "0.25", "--top-k", "7"]}
        await site.post(CONFIGURE, {"model": "a", "keep_alive": "-1", **flags})
        assert site.engines.running()[0].keep_alive_s == math.inf
        await site.chat("hi", temperature=1.5)
        sampling = engine.submitted[-1].sampling
        assert (sampling.temperature, sampling.top_k) == (1.5, 7)
        assert site.spawn.engines == [engine]

    run(test, settings_path=tmp_path)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
    ],
)
def test_openais_requests_may_say_how_long_their_model_is_kept(
    path: str, body: dict[str, Any], tmp_path: Path
) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(path, {"model": "a", "keep_alive": "90s", **body})
        assert answer.status == 200
        assert site.engines.running()[0].keep_alive_s == 90
        refused = await site.post(path, {"model": "a", "keep_alive": "soon", **body})
        assert (refused.status, refused.error["param"]) == (400, "keep_alive")

    run(test, settings_path=tmp_path)


def test_a_model_that_is_not_stored_may_be_configured(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(CONFIGURE, {"model": "zz", "context-size": 512})
        assert answer.status == 202
        (kept,) = (await site.send("GET", CONFIGURE)).json
        assert (kept["Model"], kept["ModelID"]) == ("docker.io/ai/zz:latest",) * 2

    run(test, settings_path=tmp_path)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"runtime-flags": ["--model", "/x"]}, "runtime-flags"),
        ({"runtime-flags": ["--temp", 1]}, "runtime-flags[1]"),
        ({"raw-runtime-flags": "--host 0.0.0.0"}, "raw-runtime-flags"),
        ({"raw-runtime-flags": '--temp "0.1'}, "raw-runtime-flags"),
        ({"context-size": "8192"}, "context-size"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"speculative": {"draft_model": 5}}, "speculative.draft_model"),
        ({"unset": ["host"]}, "unset"),
        ({"unset": ["threads"] * 201}, "unset"),
        ({"runtime-flags": ["--jinja"] * 201}, "runtime-flags"),
        ({"source": "request"}, "source"),
        ({"vllm": {}}, "vllm"),
        ({"llamacpp": {"reasoning-budget": "no"}}, "llamacpp.reasoning-budget"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name_and_nothing_is_kept(
    change: dict[str, Any], param: str, tmp_path: Path
) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(CONFIGURE, {"model": "a", **change})
        assert (answer.status, answer.error["param"]) == (400, param)
        assert (await site.send("GET", CONFIGURE)).json == []
        assert site.spawn.engines == []

    run(test, settings_path=tmp_path)
