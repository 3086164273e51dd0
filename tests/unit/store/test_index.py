from __future__ import annotations

import json
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, media
from runner.store.index import Entry, Index

A = Descriptor(media.MANIFEST, Digest("sha256", "a" * 64), 10)
B = Descriptor(media.MANIFEST, Digest("sha256", "b" * 64), 20)
X, Y, Z = "docker.io/ai/x:latest", "docker.io/ai/y:latest", "docker.io/ai/z:latest"


def test_models_keep_their_order_and_a_tag_names_one_of_them() -> None:
    index = Index().with_model(A, X).with_model(B, Y).with_model(A, Z)
    assert index.entries == (Entry(A, (X, Z)), Entry(B, (Y,)))
    assert index.with_model(B, X).entries == (Entry(A, (Z,)), Entry(B, (Y, X)))
    assert index.tagged(Z) == index.find(A.digest) == Entry(A, (X, Z))
    assert index.tagged("docker.io/ai/none:latest") is None
    assert index.find(Digest.of(b"")) is None


def test_of_a_tag_that_is_listed_twice_the_last_counts() -> None:
    raw = Index().with_model(A, X).with_model(A, Y).with_model(B, Z).render()
    index = Index.parse(raw.replace(Z.encode(), X.encode()))
    assert index.entries == (Entry(A, (Y,)), Entry(B, (X,)))
    assert index.tagged(X) == Entry(B, (X,))


def test_a_model_may_lose_all_tags_and_stays() -> None:
    index = Index().with_model(A, X).without_tag(X).without_tag(X)
    assert index.entries == (Entry(A, ()),)
    assert Index.parse(index.render()) == index


def test_a_model_that_is_taken_out_takes_its_tags_along() -> None:
    index = Index().with_model(A, X).with_model(B, Y).without_model(A.digest)
    assert index.entries == (Entry(B, (Y,)),)
    assert index.without_model(A.digest) == index


def test_the_file_lists_a_manifest_once_for_each_tag() -> None:
    raw = Index().with_model(A, X).with_model(A, Y).with_model(B, None).render()
    value = json.loads(raw)
    assert value["schemaVersion"] == 2
    assert value["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [
        (item["digest"], item.get("annotations", {}).get("org.opencontainers.image.ref.name"))
        for item in value["manifests"]
    ] == [(str(A.digest), X), (str(A.digest), Y), (str(B.digest), None)]
    assert value["manifests"][2] == {
        "mediaType": media.MANIFEST,
        "digest": str(B.digest),
        "size": 20,
    }


def listed(**changes: Any) -> dict[str, Any]:
    return {"mediaType": media.MANIFEST, "digest": str(A.digest), "size": 10, **changes}


def parse(*items: Any) -> Index:
    return Index.parse(json.dumps({"schemaVersion": 2, "manifests": items}).encode())


def test_what_other_tools_wrote_is_kept() -> None:
    foreign = {"mediaType": media.INDEX, "digest": str(B.digest), "size": 1, "platform": {"a": 1}}
    annotated = listed(annotations={"org.example.note": "n", media.REF_NAME: X})
    index = parse(foreign, annotated)
    assert index.foreign == (foreign,)
    assert index.entries[0].tags == (X,)
    written = json.loads(index.render())["manifests"]
    assert written == [foreign, annotated]


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("v1", ("docker.io/ai/v1:latest",)),
        ("ai/x", (X,)),
        ("not a name", ()),
        (f"x@{A.digest}", (f"docker.io/ai/x@{A.digest}",)),
        (f"x:v1@{A.digest}", ("docker.io/ai/x:v1",)),
        (f"x@{B.digest}", ()),
    ],
)
def test_short_and_odd_names_of_other_tools(name: str, tags: tuple[str, ...]) -> None:
    assert parse(listed(annotations={media.REF_NAME: name})).entries[0].tags == tags


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}",
        b'{"manifests":{}}',
        b'{"manifests":[1]}',
        b'{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json"}]}',
        Index().with_model(A, X).render()[:-20],
        bytes(500),
    ],
)
def test_a_damaged_file_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        Index.parse(raw)
    assert caught.value.kind is Kind.INVALID_MODEL
