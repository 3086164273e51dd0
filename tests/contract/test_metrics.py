"""``/metrics`` of a server with scripted engines, as Prometheus' own parser reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from runner.api import Policy, parse_keys
from tests.support.fake_service import Site, run

A = "docker.io/ai/a:latest"


async def scrape(site: Site) -> dict[tuple[str, ...], float]:
    """Ask, and return each sample by its name and the values of its labels."""
    answer = await site.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def test_before_any_request() -> None:
    async def test(site: Site) -> None:
        found = await scrape(site)
        assert found[("runner_build_info", "9.9")] == 1
        assert found[("process_start_time_seconds",)] > 1.7e9
        assert found[("runner_requests_waiting_for_room",)] == 0
        assert not site.spawn.engines  # asking loads nothing

    run(test)


def test_requests_are_counted_by_model_and_end() -> None:
    async def test(site: Site) -> None:
        await site.chat("say one two three")
        await site.chat("say one", stream=True)
        await site.chat("fail context_length_exceeded")
        found = await scrape(site)
        assert found[("runner_requests_total", A, "eos")] == 2
        assert found[("runner_requests_total", A, "context_length_exceeded")] == 1
        assert found[("runner_prompt_tokens_total", A)] == 14
        assert found[("runner_cached_tokens_total", A)] == 4
        assert found[("runner_completion_tokens_total", A)] == 4
        assert found[("runner_time_to_first_token_seconds_count", A)] == 2
        assert found[("runner_inter_token_seconds_count", A)] == 2
        assert found[("runner_request_seconds_count", A)] == 3
        assert found[("runner_queue_seconds_bucket", A, "+Inf")] == 2

    run(test)


def test_models_in_memory_and_those_that_left() -> None:
    async def test(site: Site) -> None:
        await site.chat("say x")
        found = await scrape(site)
        assert (found[("runner_model_ready", A)], found[("runner_model_loads_total", A)]) == (1, 1)
        await site.post("/engines/unload", {"all": True})
        found = await scrape(site)
        assert ("runner_model_ready", A) not in found
        assert found[("runner_model_unloads_total", A, "asked")] == 1

    run(test)


def test_pulls() -> None:
    async def test(site: Site) -> None:
        await site.post("/models/create", {"from": "ai/new"})
        found = await scrape(site)
        assert found[("runner_pulls_total", "pulled")] == 1

    run(test)


def test_what_a_client_writes_is_no_label() -> None:
    async def test(site: Site) -> None:
        for name in ("zz", 'x"} 1\nevil 1', "a" * 300):
            await site.post("/v1/chat/completions", {"model": name, "messages": []})
        text = (await site.send("GET", "/metrics")).body.decode()
        assert "zz" not in text and "evil" not in text and "aaa" not in text

    run(test)


def test_a_key_must_be_allowed_to_use_models() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/metrics")).status == 401
        wrong = await site.send("GET", "/metrics", "Authorization: Bearer manager-key-0123456789")
        assert wrong.status == 403
        assert (await site.send("POST", "/metrics")).status in (401, 405)

    keys = parse_keys(["manager-key-0123456789:manage"])
    run(test, policy=Policy(keys=keys))
