from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.registry.hub_reference import HubReference
from runner.registry.hub_reply import (
    HubFile,
    explain_refusal,
    parse_next_page,
    parse_revision,
    parse_tree,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA1 = "ab" * 20
SHA256 = "cd" * 32
ASKED = HubReference.parse("hf.co/Org/Repo:Q4_K_M@v2")


def entry(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": 5, "oid": SHA1, **more}


def test_a_small_file_and_one_in_lfs() -> None:
    lfs = {"oid": SHA256, "size": 4_000_000_000, "pointerSize": 135}
    tree = [
        {"type": "directory", "path": "sub", "oid": SHA1, "size": 0},
        entry("LICENSE"),
        entry("sub/m-Q8_0.gguf", lfs=lfs, xetHash="ef" * 32),
    ]
    assert parse_tree(json.dumps(tree).encode()) == (
        HubFile("LICENSE", 5, SHA1, None),
        HubFile("sub/m-Q8_0.gguf", 4_000_000_000, SHA1, Digest("sha256", SHA256)),
    )


def test_bytes_are_compared_with_what_git_or_lfs_says() -> None:
    # printf hello | git hash-object --stdin; printf hello | sha256sum
    small = HubFile("x", 5, "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0")
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    large = HubFile("y", 5, SHA1, Digest("sha256", sha256))
    assert small.matches(b"hello") and large.matches(b"hello")
    assert not small.matches(b"hellp") and not large.matches(b"hellp")


@pytest.mark.parametrize(
    "path",
    [
        "../../.ssh/authorized_keys",
        "a/../b.gguf",
        "/etc/passwd",
        "C:\\x.gguf",
        "a\\b.gguf",
        "a//b.gguf",
        "./b.gguf",
        ". ./b.gguf",
        "a\nb.gguf",
        "a\x00b.gguf",
        "x" * 301,
        "",
        None,
        7,
    ],
)
def test_d12_a_path_that_could_lead_outside_is_left_out(path: object) -> None:
    tree = [{"type": "file", "path": path, "size": 5, "oid": SHA1}, entry("good.gguf")]
    assert [file.path for file in parse_tree(json.dumps(tree).encode())] == ["good.gguf"]


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>Sign in</html>",
        b"{}",
        b"[1]",
        b'{"error": "x"}',
        b"\xff",
        b"[" * 200_000,
        json.dumps([entry("a", size=-1)]).encode(),
        json.dumps([entry("a", size=True)]).encode(),
        json.dumps([entry("a", size=2**60)]).encode(),
        json.dumps([entry("a", oid="../../x")]).encode(),
        json.dumps([entry("a", lfs={"oid": "../x", "size": 5})]).encode(),
        json.dumps([entry("a", lfs={"oid": SHA256.upper(), "size": 5})]).encode(),
        json.dumps([entry("a", lfs={"oid": SHA256, "size": None})]).encode(),
        json.dumps([entry("a", lfs=["x"])]).encode(),
    ],
)
def test_what_is_no_list_of_files_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_tree(raw)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_refused(raw: bytes) -> None:
    try:
        parse_tree(raw)
    except RunnerError as error:
        assert error.kind is Kind.REGISTRY_UNAVAILABLE


def test_a_revision_and_a_repository_that_was_renamed() -> None:
    raw = json.dumps({"id": "New/Name", "sha": COMMIT}).encode()
    revision = parse_revision(raw, ASKED)
    assert (revision.repository, revision.commit) == ("New/Name", COMMIT)
    strange = json.dumps({"id": "../x", "sha": COMMIT}).encode()
    assert parse_revision(strange, ASKED).repository == "Org/Repo"


@pytest.mark.parametrize("sha", [None, "main", COMMIT.upper(), COMMIT + "0", 7])
def test_a_revision_without_a_commit_is_refused(sha: object) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_revision(json.dumps({"id": "a/b", "sha": sha}).encode(), ASKED)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE


PAGE = "https://hub.example/api/models/a/b/tree/main"


@pytest.mark.parametrize(
    ("link", "following"),
    [
        (None, None),
        ("", None),
        ('<https://hub.example/x?cursor=1>; rel="prev"', None),
        ('<https://hub.example/x?cursor=2>; rel="next"', f"{PAGE}?cursor=2"),
        ("</x?cursor=2>; rel=next", f"{PAGE}?cursor=2"),
        ('<https://hub.example/p>; rel="prev", </n?a=1,2>; rel="next"', f"{PAGE}?a=1,2"),
        ('<https://evil.example/x?cursor=2>; rel="next"', f"{PAGE}?cursor=2"),
        ('<//evil.example/x>; rel="next"', PAGE),
    ],
)
def test_the_next_page_is_on_the_same_host_whatever_the_answer_says(
    link: str | None, following: str | None
) -> None:
    assert parse_next_page(link, f"{PAGE}?recursive=true") == following


@pytest.mark.parametrize(
    ("status", "code", "has_token", "kind", "hint"),
    [
        (
            401,
            "GatedRepo",
            False,
            Kind.REGISTRY_DENIED,
            "accept them at https://huggingface.co/Org/Repo; set HF_TOKEN",
        ),
        (
            403,
            "GatedRepo",
            True,
            Kind.REGISTRY_DENIED,
            "accept them at https://huggingface.co/Org/Repo; your token's account is not in yet",
        ),
        (
            401,
            "RepoNotFound",
            False,
            Kind.MODEL_NOT_FOUND,
            "check https://huggingface.co/Org/Repo; for a private one set HF_TOKEN",
        ),
        (404, "RepoNotFound", True, Kind.MODEL_NOT_FOUND, "check https://huggingface.co/Org/Repo"),
        (
            404,
            "RevisionNotFound",
            False,
            Kind.MODEL_NOT_FOUND,
            "its branches and tags: https://huggingface.co/Org/Repo/tree/main",
        ),
        (
            401,
            None,
            False,
            Kind.MODEL_NOT_FOUND,
            "check https://huggingface.co/Org/Repo; for a private one set HF_TOKEN",
        ),
        (
            401,
            None,
            True,
            Kind.REGISTRY_DENIED,
            "give HF_TOKEN a valid token that may read it: https://huggingface.co/settings/tokens",
        ),
        (
            403,
            None,
            False,
            Kind.REGISTRY_DENIED,
            "give HF_TOKEN a valid token that may read it: https://huggingface.co/settings/tokens",
        ),
        (
            500,
            None,
            False,
            Kind.REGISTRY_UNAVAILABLE,
            "try again later; https://status.huggingface.co tells of outages",
        ),
    ],
)
def test_a_refusal_says_what_to_do(
    status: int, code: str | None, has_token: bool, kind: Kind, hint: str
) -> None:
    error = explain_refusal(status, code, ASKED, has_token=has_token)
    assert error.kind is kind
    assert error.hint == hint
