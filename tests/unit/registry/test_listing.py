from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.registry.listing import (
    Listed,
    ListedTag,
    parse_docker_hub_page,
    parse_docker_hub_tags,
    parse_hub_models,
)

URL = "https://hub.example/v2/repositories/ai/?page_size=100"


def test_a_page_of_docker_hub() -> None:
    raw = json.dumps(
        {
            "count": 2,
            "next": "https://hub.example/v2/repositories/ai/?page=2",
            "results": [
                {"name": "smollm2", "description": "Tiny\n\x1b[31mLLM", "pull_count": 12},
                {"name": "secret", "is_private": True},
                {"name": "qwen3", "description": None, "pull_count": "many", "star_count": 3},
                "nonsense",
                {},
            ],
        }
    ).encode()
    assert parse_docker_hub_page(raw, URL) == (
        (
            Listed("ai/smollm2", "Tiny [31mLLM", downloads=12),
            Listed("ai/qwen3", stars=3),
        ),
        "https://hub.example/v2/repositories/ai/?page=2",
    )


@pytest.mark.parametrize("following", [None, 7, "https://evil.example/x", "http://hub.example/x"])
def test_a_next_page_elsewhere_is_not_read(following: object) -> None:
    raw = json.dumps({"next": following, "results": []}).encode()
    assert parse_docker_hub_page(raw, URL) == ((), None)


def test_tags_of_docker_hub() -> None:
    raw = json.dumps(
        {
            "results": [
                {"name": "latest", "full_size": 100, "digest": "sha256:1"},
                {"name": "x", "full_size": -1},
                {"full_size": 3},
            ]
        }
    ).encode()
    assert parse_docker_hub_tags(raw) == (
        ListedTag("latest", 100, "sha256:1"),
        ListedTag("x", None, ""),
    )


def test_models_of_hugging_face() -> None:
    raw = json.dumps(
        [
            {
                "id": "Org/Repo-GGUF",
                "downloads": 5,
                "likes": 2,
                "tags": ["gguf", "license:apache-2.0", 7],
                "pipeline_tag": "text-generation",
                "gguf": {"total": 1, "context_length": 32768},
                "gated": "manual",
            },
            {"id": "Org/Plain", "gated": False},
            {"id": "../x"},
            {"id": "Org/Private", "private": True},
            {"downloads": 1},
        ]
    ).encode()
    assert parse_hub_models(raw) == (
        Listed("Org/Repo-GGUF", "text-generation", 5, 2, "apache-2.0", 32768, True),
        Listed("Org/Plain"),
    )


@given(st.binary(max_size=80))
def test_any_answer_is_a_list_or_refused(raw: bytes) -> None:
    for parse in (parse_hub_models, parse_docker_hub_tags, lambda r: parse_docker_hub_page(r, URL)):
        try:
            parse(raw)
        except RunnerError as error:
            assert error.kind is Kind.REGISTRY_UNAVAILABLE
