from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from tests.unit.store.conftest import AddModel


def problem(store: Store, text: str, *, partial: bool = True) -> RunnerError:
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
        f"docker.io/ai/x:v9@{model.id}",
    ):
        assert store.resolve(text).id == model.id


def test_a_digest_counts_and_so_does_the_name_before_it(store: Store, add: AddModel) -> None:
    old = add("x", b"\1")
    store.tag(old, Reference.parse("x:old"))
    new = add("x", b"\2")
    assert store.resolve(f"x:latest@{old.id}").id == old.id
    assert store.resolve(f"x@{new.id}").id == new.id
    for text in (f"y@{old.id}", f"example.com/x@{new.id}", f"x@sha256:{'0' * 64}"):
        assert problem(store, text).kind is Kind.MODEL_NOT_FOUND


def test_a_name_of_twelve_hex_digits_can_be_addressed(store: Store, add: AddModel) -> None:
    model = add("0123456789ab")
    assert store.resolve("0123456789ab").id == model.id


def test_the_tag_and_its_case_count(store: Store, add: AddModel) -> None:
    add("x:Q4")
    for text in ("ai/x", "x:q4", "x:Q8"):
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


def test_the_last_part_of_a_name_is_enough(store: Store, add: AddModel) -> None:
    model = add("example.com/org/deep:v1")
    for text in ("deep", "deep:v1", " Deep "):
        assert store.resolve(text).id == model.id
    for text in ("dee", "deep:v2", "org/deep", "deep:V1"):
        assert problem(store, text).kind is Kind.MODEL_NOT_FOUND


def test_what_is_deleted_or_pushed_is_named_in_full(store: Store, add: AddModel) -> None:
    add("example.com/org/deep:v1")
    assert problem(store, "deep", partial=False).kind is Kind.MODEL_NOT_FOUND
    with pytest.raises(RunnerError) as caught:
        store.remove("deep")
    assert caught.value.kind is Kind.MODEL_NOT_FOUND
    assert caught.value.details == {"near": ["example.com/org/deep:v1"]}


def test_a_part_that_two_models_have_is_not_guessed(store: Store, add: AddModel) -> None:
    first = add("one/deep", b"\1")
    store.tag(first, Reference.parse("three/deep:v3"))
    assert store.resolve("deep").id == first.id
    add("two/deep:v2", b"\2")
    assert store.resolve("deep:v2").tags == ("docker.io/two/deep:v2",)
    error = problem(store, "deep")
    assert error.kind is Kind.MODEL_NOT_FOUND
    assert error.details == {"near": ["one/deep", "three/deep:v3", "two/deep:v2"]}


def test_a_full_name_goes_before_a_part_of_another(store: Store, add: AddModel) -> None:
    add("example.com/deep", b"\1")
    exact = add("deep", b"\2")
    assert store.resolve("deep").id == exact.id


def test_near_names_are_proposed(store: Store, add: AddModel) -> None:
    add("smollm2:135M")
    add("gemma3", b"\2")
    assert problem(store, "smolm2").details == {"near": ["smollm2:135M"]}
    assert problem(store, "gema3").hint == "did you mean gemma3? See all with: runner list"
    assert problem(store, "SMOLLM2", partial=False).details == {"near": ["smollm2:135M"]}
    assert problem(store, "zzzzz").details == {"near": []}
    assert "runner pull NAME" in (problem(store, "zzzzz").hint or "")
