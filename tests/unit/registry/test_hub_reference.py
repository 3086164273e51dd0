from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.registry.hub_reference import HubReference, is_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "repository", "selector", "revision", "stored"),
    [
        ("hf.co/Org/Repo", "Org/Repo", None, None, "huggingface.co/org/repo:latest"),
        ("hf.co/Org/Repo:Q4_K_M", "Org/Repo", "Q4_K_M", None, "huggingface.co/org/repo:Q4_K_M"),
        ("huggingface.co/Org/Repo:main", "Org/Repo", None, None, "huggingface.co/org/repo:main"),
        ("HF.co/Org/Repo:latest", "Org/Repo", None, None, "huggingface.co/org/repo:latest"),
        (
            f" hf.co/Org/Repo-GGUF:q8_0@{COMMIT} ",
            "Org/Repo-GGUF",
            "q8_0",
            COMMIT,
            f"huggingface.co/org/repo-gguf:q8_0-at-{COMMIT}",
        ),
        ("hf.co/o/R@refs/pr/3", "o/R", None, "refs/pr/3", "huggingface.co/o/r:latest-at-refs-pr-3"),
        ("hf.co/o/R:", "o/R", None, None, "huggingface.co/o/r:latest"),
        ("hf.co/o/R@v1.0", "o/R", None, "v1.0", "huggingface.co/o/r:latest-at-v1.0"),
    ],
)
def test_the_parts_of_a_hub_name(
    text: str, repository: str, selector: str | None, revision: str | None, stored: str
) -> None:
    reference = HubReference.parse(text)
    assert reference.repository == repository
    assert reference.selector == selector
    assert reference.revision == revision
    assert str(reference.name) == stored
    assert reference.is_pinned is (revision == COMMIT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf.co",
        "hf.co/gpt2",
        "hf.co/a/b/c",
        "hf.co/../b",
        "hf.co/a/..",
        "hf.co/a/b?x=1",
        "hf.co/a/b@",
        "hf.co/a/b@../../etc",
        "hf.co/a/b@a//b",
        "hf.co/a/b@-x",
        f"hf.co/a/b@sha256:{'ab' * 32}",
        "hf.co/a/b:Q4 K",
        "hf.co/a/b:" + "x" * 129,
        "hf.co/ä/b",
        "example.com/a/b",
    ],
)
def test_what_is_no_hub_name_is_refused(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        HubReference.parse(text)
    assert caught.value.kind is Kind.INVALID_REFERENCE


@pytest.mark.parametrize("text", ["hf.co/a/b", " HuggingFace.co/a/b"])
def test_names_that_lead_to_the_hub(text: str) -> None:
    assert is_hub_name(text)


@pytest.mark.parametrize("text", ["hf.co", "ai/hf.co", "hf.co.example.com/a/b", "x/y", ""])
def test_names_that_do_not(text: str) -> None:
    assert not is_hub_name(text)


@given(st.text(max_size=60).map("hf.co/".__add__))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = HubReference.parse(text)
    except RunnerError as error:
        assert error.kind is Kind.INVALID_REFERENCE
    else:
        assert ".." not in reference.repository
        assert HubReference.parse(str(reference)).repository == reference.repository
