"""text-embeddings-inference's requests for vectors, read strictly."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from runner.api import tei
from runner.errors import RunnerError
from runner.wire.messages import Embed, Pooled


def parse(**members: Any) -> tei.EmbedRequest:
    return tei.parse({"model": "m", "inputs": "a"} | members)


def test_vectors_have_the_length_one_unless_told() -> None:
    assert parse().embed == Embed(id=0, inputs=("a",), norm=2, param="inputs")
    request = parse(
        inputs=["a", [1, 2]], normalize=False, truncate=True, truncation_direction="Right"
    )
    assert request.embed == Embed(
        id=0, inputs=("a", (1, 2)), norm=-1, truncate=True, param="inputs"
    )
    assert request.ignored == ()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"inputs": None}, "inputs"),
        ({"inputs": ["a", ""]}, "inputs[1]"),
        ({"truncation_direction": "Left"}, "truncation_direction"),
        ({"prompt_name": "query"}, "prompt_name"),
        ({"normalize": 1}, "normalize"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as refused:
        parse(**members)
    assert refused.value.param == param


def test_the_answer_is_the_vectors_alone() -> None:
    pooled = Pooled(1, 2, struct.pack("<4f", 0.5, -0.25, 0.125, 1.0), (3, 5))
    assert json.loads(tei.render(pooled)) == [[0.5, -0.25], [0.125, 1.0]]
