"""Whose word counts, and what becomes of it."""

from __future__ import annotations

import math

import pytest

from runner.service.options import (
    ORDER,
    ModelSettings,
    Options,
    Origin,
    completed,
    merged,
    settle,
)
from runner.wire.messages import ChatPrompt, EngineWishes, Sampling, Submit


def test_nothing_set_is_five_minutes_and_the_engine_s_choice() -> None:
    assert settle({}) == ModelSettings(EngineWishes(), 300.0, None, Sampling())


@pytest.mark.parametrize("strongest", range(len(ORDER)), ids=ORDER)
def test_the_strongest_who_says_something_rules(strongest: int) -> None:
    layers: dict[Origin, Options] = {
        origin: Options(context_size=1000 + number)
        for number, origin in enumerate(ORDER)
        if number >= strongest
    }
    settings = settle(layers)
    assert settings.wishes.context_size == 1000 + strongest
    assert settings.origins == {"context_size": ORDER[strongest]}


def test_each_value_is_taken_by_itself() -> None:
    settings = settle(
        {
            "package": Options(context_size=2048),
            "serve": Options(threads=3, keep_alive="-1"),
            "compose": Options(context_size=8192, temperature=0.5),
            "configure": Options(temperature=0.0, draft_model="ai/tiny"),
        }
    )
    assert settings.wishes == EngineWishes(context_size=8192, threads=3)
    assert (settings.keep_alive_s, settings.draft_model) == (math.inf, "ai/tiny")
    assert settings.sampling == Sampling(temperature=0.0)
    assert settings.origins == {
        "context_size": "compose",
        "threads": "serve",
        "keep_alive": "serve",
        "temperature": "configure",
        "draft_model": "configure",
    }
    assert settings.stated() == {
        "context_size": 8192,
        "threads": 3,
        "keep_alive": "-1",
        "temperature": 0.0,
        "draft_model": "ai/tiny",
    }


def test_a_change_keeps_what_it_does_not_name() -> None:
    old = Options(context_size=4096, threads=2, keep_alive="1h")
    new = merged(old, Options(threads=4), frozenset({"keep_alive"}))
    assert new == Options(context_size=4096, threads=4)


def submit(sampling: Sampling, budget: int | None = None) -> Submit:
    return Submit(
        id=1, prompt=ChatPrompt(messages_json="[]", reasoning_budget=budget), sampling=sampling
    )


def test_what_a_request_says_rules_over_what_is_set_for_the_model() -> None:
    settings = settle({"configure": Options(temperature=0.7, top_k=5, seed=1, reasoning_budget=40)})
    asked = Sampling(temperature=0.0, top_logprobs=3)
    filled = Sampling(temperature=0.0, top_k=5, seed=1, top_logprobs=3)
    assert completed(submit(asked), settings) == submit(filled, 40)
    assert completed(submit(asked, 7), settings) == submit(filled, 7)
    assert settings.stated()["reasoning_budget"] == 40


def test_where_nothing_is_set_a_request_stays_as_it_is() -> None:
    asked = submit(Sampling())
    assert completed(asked, settle({})) is asked
    free = settle({"configure": Options(reasoning_budget=-1)})
    assert completed(asked, free) is asked
    assert free.stated() == {"reasoning_budget": -1}
