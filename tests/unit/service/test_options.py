"""Whose word counts, and what becomes of it."""

from __future__ import annotations

import math

import pytest

from runner.service.options import (
    ORDER,
    ModelSettings,
    Options,
    Origin,
    merged,
    settle,
    with_defaults,
)
from runner.wire.messages import EngineWishes, Sampling


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


def test_what_a_request_says_of_its_tokens_rules_over_what_is_set_for_the_model() -> None:
    asked = Sampling(temperature=0.0, top_logprobs=3)
    filled = with_defaults(asked, Sampling(temperature=0.7, top_k=5, seed=1))
    assert filled == Sampling(temperature=0.0, top_k=5, seed=1, top_logprobs=3)
    assert with_defaults(asked, Sampling()) is asked
