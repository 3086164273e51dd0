"""References survive their own text; documents of any bytes are parsed or refused in one way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.oci import (
    Artifact,
    Descriptor,
    Digest,
    ImageIndex,
    Manifest,
    ModelConfig,
    Reference,
    media,
    safe_path,
)
from runner.store.index import Index

HEX = "0123456789abcdef"
digests = st.builds(Digest, st.just("sha256"), st.text(HEX, min_size=64, max_size=64))
components = st.from_regex(r"\A[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}\Z")
repositories = st.lists(components, min_size=2, max_size=4).map("/".join)
domains = st.sampled_from(
    ["docker.io", "example.com", "localhost", "localhost:5000", "10.0.0.1:443", "huggingface.co"]
)
tags = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z")
references = st.one_of(
    st.builds(Reference, domains, repositories, tags),
    st.builds(Reference, domains, repositories, st.none() | tags, digests),
)


@given(references)
def test_a_reference_parses_from_its_full_and_its_familiar_name(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
    assert len(reference.familiar) <= len(str(reference))


@given(st.one_of(st.text(max_size=80), st.text("aA1._-/:@[]% ", max_size=30)))
def test_any_text_is_a_reference_that_is_stable_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except RunnerError as error:
        assert error.kind is Kind.INVALID_REFERENCE
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.name
    assert reference.name == reference.name.lower()


@given(st.text(max_size=140))
def test_any_text_is_a_digest_or_is_refused(text: str) -> None:
    try:
        assert str(Digest.parse(text)) == text
    except RunnerError as error:
        assert error.kind is Kind.INVALID_REFERENCE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
KEYS = [
    *("schemaVersion", "mediaType", "config", "layers", "manifests", "descriptor", "digest"),
    *("platform", "size", "annotations", "format", "gguf", "context_size", "created"),
]
documents = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6).map(
    lambda value: json.dumps(value).encode()
)


@given(st.one_of(st.binary(max_size=100), documents))
def test_any_bytes_are_a_document_or_are_refused(raw: bytes) -> None:
    for parse in (Manifest.parse, ModelConfig.parse, Index.parse, ImageIndex.parse):
        try:
            parse(raw)
        except RunnerError as error:
            assert error.kind is Kind.INVALID_MODEL


descriptors = st.builds(
    Descriptor,
    st.sampled_from([media.GGUF, media.LICENSE, "x/y"]),
    digests,
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.just("é")),
)


file_names = st.sampled_from(["model.gguf", "MODEL.gguf", "../x", "a/b", "CON", ""]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=9
)
layers_with_names = st.builds(
    lambda kind, name: Descriptor(kind, Digest.of(b""), 1, {media.FILE_PATH: name}),
    st.sampled_from([media.GGUF, media.LORA, media.WEIGHT_MODELPACK, media.DOC_MODELPACK, "x/y"]),
    file_names,
)


@given(st.lists(layers_with_names, max_size=8))
def test_the_files_of_an_artifact_have_names_that_are_safe_and_differ(
    layers: list[Descriptor],
) -> None:
    artifact = Artifact.of_layers(layers)
    paths = [file.path for file in artifact.files]
    assert [safe_path(path) for path in paths] == paths
    assert len({path.casefold() for path in paths}) == len(layers)
    assert [file.blob for file in artifact.files] == layers


@given(
    digests.map(lambda digest: Descriptor(media.CONFIG_V01, digest, 9)),
    st.lists(descriptors, min_size=1, max_size=4),
)
def test_a_manifest_parses_from_its_own_bytes(config: Descriptor, layers: list[Any]) -> None:
    manifest = Manifest.build(config, layers)
    assert Manifest.parse(manifest.raw) == manifest


@given(
    st.lists(
        st.tuples(
            digests.map(lambda digest: Descriptor(media.MANIFEST, digest, 9)),
            st.none() | st.builds(Reference, domains, repositories, tags).map(str),
        ),
        max_size=8,
    )
)
def test_an_index_parses_from_its_own_bytes(steps: list[tuple[Descriptor, str | None]]) -> None:
    index = Index()
    for descriptor, tag in steps:
        index = index.with_model(descriptor, tag)
        assert Index.parse(index.render()) == index
    named = [tag for entry in index.entries for tag in entry.tags]
    assert len(named) == len(set(named))
