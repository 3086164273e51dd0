from __future__ import annotations

import json
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, ImageIndex, Platform, media
from runner.oci.index import MAX_INDEX_BYTES

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
MAC = Platform("darwin", "arm64")


def entry(letter: str, platform: Platform | None = None, **changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "mediaType": media.MANIFEST,
        "digest": str(Digest("sha256", letter * 64)),
        "size": 500,
    }
    if platform is not None:
        value["platform"] = {"os": platform.os, "architecture": platform.architecture}
    return {**value, **changes}


def index(*entries: dict[str, Any], **changes: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": list(entries), **changes}
    return json.dumps(value).encode()


def chosen(raw: bytes, platform: Platform) -> str:
    return ImageIndex.parse(raw).choose(platform).digest.hex[0]


ATTESTATION = {"annotations": {media.REFERENCE_TYPE: "attestation-manifest"}}
CHOICES = [
    ("the platform's", index(entry("a", ARM), entry("b", AMD)), AMD, "b"),
    ("the first of the platform's", index(entry("a", AMD), entry("b", AMD)), AMD, "a"),
    ("the one for all", index(entry("a", ARM), entry("b")), AMD, "b"),
    ("the platform's before the one for all", index(entry("a"), entry("b", AMD)), AMD, "b"),
    ("the only one", index(entry("a", ARM)), AMD, "a"),
    ("not an attestation", index(entry("a", None, **ATTESTATION), entry("b", ARM)), AMD, "b"),
    ("not of nowhere", index(entry("a", Platform("unknown", "unknown")), entry("b")), AMD, "b"),
    ("not an index", index(entry("a", AMD, mediaType=media.INDEX), entry("b")), AMD, "b"),
    ("no unknown type", index(entry("a", AMD, mediaType="a/b"), entry("b", ARM)), AMD, "b"),
    ("of Docker's list", index(entry("a"), mediaType=media.INDEX_DOCKER), AMD, "a"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "platform", "letter"),
    [case[1:] for case in CHOICES],
    ids=[case[0] for case in CHOICES],
)
def test_a_machine_takes(raw: bytes, platform: Platform, letter: str) -> None:
    assert chosen(raw, platform) == letter


def test_what_is_there_is_told_to_a_machine_that_nothing_is_for() -> None:
    with pytest.raises(RunnerError) as caught:
        chosen(index(entry("a", ARM), entry("b", MAC)), AMD)
    assert caught.value.kind is Kind.INVALID_MODEL
    assert "linux/amd64, only for darwin/arm64, linux/arm64" in caught.value.message
    assert "sha256" in (caught.value.hint or "")


BAD = [
    ("nothing", b""),
    ("an index of indexes alone", index(entry("a", mediaType=media.INDEX))),
    ("an empty one", index()),
    ("layers too", index(entry("a"), layers=[])),
    ("a config too", index(entry("a"), config={})),
    ("another type", index(entry("a"), mediaType=media.MANIFEST)),
    ("schema version 1", index(entry("a"), schemaVersion=1)),
    ("no list", index(manifests={})),
    ("a bad digest", index(entry("a", digest="sha256:../../x"))),
    ("a platform that is text", index({**entry("a"), "platform": "linux/amd64"})),
    ("too many", index(*[entry("a")] * 2000)),
    ("too large", b" " * (MAX_INDEX_BYTES + 1)),
]


@pytest.mark.parametrize("raw", [raw for _, raw in BAD], ids=[name for name, _ in BAD])
def test_d11_an_index_of_another_shape_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        chosen(raw, AMD)
    assert caught.value.kind is Kind.INVALID_MODEL


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("Linux", "x86_64", AMD),
        ("Linux", "aarch64", ARM),
        ("Darwin", "arm64", MAC),
        ("Windows", "AMD64", Platform("windows", "amd64")),
        ("Linux", "riscv64", Platform("linux", "riscv64")),
    ],
)
def test_a_machine_is_named_in_gos_words(system: str, machine: str, platform: Platform) -> None:
    assert Platform.of_machine(system, machine) == platform
