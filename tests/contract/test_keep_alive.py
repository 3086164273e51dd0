"""Who may say how long a model stays: it is so for all who use it, so only who manages models."""

from __future__ import annotations

import pytest

from runner.api import Policy, parse_keys
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.keys import Scope
from tests.contract.places import PLACES, Place
from tests.support.fake_service import Answer, Site, run

GUEST, MANAGER = "Authorization: Bearer guest", "Authorization: Bearer manager"
POLICY = Policy(keys=parse_keys(["guest:infer", "manager:infer+manage"]))
USUAL_S = 300.0
LOADS_ONLY = {"model": "a", "messages": []}  # what Ollama's clients send to load or unload


def places(site: Site) -> list[Place]:
    """Where a caller that may only use models can write keep_alive."""
    bodies = [route.body for route in site.routes if route.scope is Scope.INFER and route.body]
    names = {body.name for body in bodies if KEEP_ALIVE in body.members}
    return [place for name in sorted(names) for place in PLACES[name]]


async def ask(site: Site, place: Place, key: str, value: float) -> Answer:
    return await site.post(place.path, place.within({**place.least, "keep_alive": value}), key)


def kept_s(site: Site) -> float:
    [running] = site.engines.running()
    return running.keep_alive_s


def test_who_only_uses_models_neither_pins_nor_unloads_one_in_any_dialect() -> None:
    async def test(site: Site) -> None:
        found = places(site)
        assert {place.path for place in found} >= {
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/responses",
            "/completion",
            "/api/chat",
            "/api/generate",
            "/api/embed",
        }
        for place in found:
            for value in (-1, 0, 7):
                answer = await ask(site, place, GUEST, value)
                assert kept_s(site) == USUAL_S, place.path
                if place.answers:
                    assert answer.status == 200
                    assert "keep_alive" in answer.headers["x-ignored-fields"]

    run(test, policy=POLICY)


def test_who_manages_models_does() -> None:
    async def test(site: Site) -> None:
        for place in places(site):
            answer = await ask(site, place, MANAGER, 7)
            assert kept_s(site) == 7, place.path
            await ask(site, place, MANAGER, -1)
            assert kept_s(site) == float("inf"), place.path
            assert "keep_alive" not in answer.headers.get("x-ignored-fields", "")

    run(test, policy=POLICY)


def test_a_wrong_one_is_refused_whoever_sends_it() -> None:
    async def test(site: Site) -> None:
        body = {"model": "a", "messages": [{"role": "user", "content": "say Hi"}]}
        answer = await site.post("/v1/chat/completions", {**body, "keep_alive": "soon"}, GUEST)
        assert (answer.status, answer.error["param"]) == (400, "keep_alive")

    run(test, policy=POLICY)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", LOADS_ONLY),
        ("/api/generate", {"model": "a"}),
        ("/api/embed", {"model": "a"}),
        ("/api/embeddings", {"model": "a"}),
    ],
)
def test_a_request_that_only_unloads_is_refused_and_one_that_only_loads_is_not(
    path: str, body: dict[str, object]
) -> None:
    async def test(site: Site) -> None:
        loaded = await site.post(path, {**body, "keep_alive": -1}, GUEST)
        assert (loaded.status, loaded.headers["x-ignored-fields"]) == (200, "keep_alive")
        assert kept_s(site) == USUAL_S
        refused = await site.post(path, {**body, "keep_alive": 0}, GUEST)
        assert refused.status == 403
        assert "'manage'" in refused.json["error"]
        assert kept_s(site) == USUAL_S
        assert (await site.post(path, {**body, "keep_alive": 0}, MANAGER)).status == 200
        assert site.engines.running() == []

    run(test, policy=POLICY)
