from __future__ import annotations

from typing import Any

import pytest

from benchmarks import __main__ as commands
from benchmarks import prompts
from benchmarks.client import Answer
from benchmarks.conversation import computed_again
from benchmarks.interference import gaps_over


def answer(prompt: int, completion: int, cached: int) -> Answer:
    return Answer(
        begun_s=0.0, prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached
    )


def test_a_gap_that_only_reaches_into_the_window_counts() -> None:
    stream = Answer(begun_s=0.0, arrivals_s=[1.0, 2.0, 7.0, 7.5, 9.0])
    assert gaps_over(stream, 3.0, 7.2) == [5.0, 0.5]


def test_computed_again_is_what_the_last_turn_had_and_the_cache_did_not_give() -> None:
    turns = [answer(100, 20, 0), answer(150, 20, 120), answer(200, 20, 110)]
    assert computed_again(turns) == 60 / 450


def test_prompts_repeat_by_seed_and_share_nothing_else() -> None:
    one, again, other = (prompts.story(100, seed) for seed in ("a", "a", "b"))
    assert one == again
    assert one[0] != other[0]
    assert len(one[1]["content"].split()) == 72


@pytest.mark.parametrize("name", list(commands.BENCHMARKS))
def test_every_benchmark_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main: Any = commands.BENCHMARKS[name]
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks {name}" in capsys.readouterr().out
