from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.store import Store
from tests.unit.store.conftest import AddModel


def problem(store: Store, text: str, *, partial: bool = False) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        store.resolve(text, partial=partial)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "smollm2:v1",
        "  smollm2:v1 ",
        "SmolLM2:v1",
        "ai/smollm2:v1",
        "docker.io/ai/smollm2:v1",
        "index.docker.io/ai/smollm2:v1",
        "example.com/a/b/other",
        "Example.COM/a/b/other:latest",
    ],
)
def test_a_model_is_found_by_any_of_its_names(store: Store, add: AddModel, text: str) -> None:
    model = add("smollm2:v1")
    add("example.com/a/b/other")
    add("unlike", b"\2")
    assert store.resolve(text).id == model.id


def test_a_model_is_found_by_its_id(store: Store, add: AddModel) -> None:
    model = add("x")
    add("y", b"\2")
    for text in (
        str(model.id),
        model.id.hex,
        model.id.short,
        f"x@{model.id}",
        f"anything/else:v9@{model.id}",
    ):
        assert store.resolve(text).id == model.id


def test_a_name_of_twelve_hex_digits_can_be_addressed(store: Store, add: AddModel) -> None:
    model = add("0123456789ab")
    assert store.resolve("0123456789ab").id == model.id


def test_the_tag_and_its_case_count(store: Store, add: AddModel) -> None:
    add("x:Q4")
    for text in ("x", "x:q4", "x:Q8"):
        assert problem(store, text).kind is Kind.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    "text",
    ["f" * 12, "f" * 64, "sha256:" + "f" * 64, "x@sha256:" + "f" * 64, "ghost", "a.b/ghost:v1"],
)
def test_what_is_not_there_is_not_found(store: Store, add: AddModel, text: str) -> None:
    add("x")
    error = problem(store, text)
    assert error.kind is Kind.MODEL_NOT_FOUND
    assert text in error.message


@pytest.mark.parametrize("text", ["", "  ", "../x", "a b", "x@sha256:zz", "sha256:abc", "x" * 300])
def test_what_is_no_reference_says_so(store: Store, text: str) -> None:
    assert problem(store, text).kind is Kind.INVALID_REFERENCE


def test_a_partial_name_is_found_where_it_is_allowed(store: Store, add: AddModel) -> None:
    model = add("example.com/org/deep:v1")
    assert store.resolve("deep", partial=True).id == model.id
    assert problem(store, "deep").kind is Kind.MODEL_NOT_FOUND
    assert problem(store, "dee", partial=True).kind is Kind.MODEL_NOT_FOUND


def test_near_names_are_proposed(store: Store, add: AddModel) -> None:
    add("smollm2:135M")
    add("gemma3", b"\2")
    assert problem(store, "smolm2").details == {"near": ["smollm2:135M"]}
    assert problem(store, "gema3").hint == "did you mean gemma3? See all with: runner list"
    assert problem(store, "SMOLLM2").details == {"near": ["smollm2:135M"]}
    assert problem(store, "zzzzz").details == {"near": []}
    assert "runner package" in (problem(store, "zzzzz").hint or "")
