"""What configs leave out comes from the weights."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Digest, Manifest, ModelConfig, media
from runner.store import Store
from runner.store.documents import Documents
from runner.store.heads import complete
from runner.store.layout import Layout
from tests.support.gguf_maker import tiny_model

DIGEST = Digest("sha256", "a" * 64)
WHOLE = ModelConfig("gguf", "F32", "1.25K", "llama", "2.38KiB", {"general.name": "Tiny"})


def weights(store: Store, data: bytes) -> Artifact:
    return Artifact.of_layers([store.inbox.add_document(media.GGUF, data)])


def test_what_is_left_out_is_read_from_the_header(store: Store, layout: Layout) -> None:
    found = complete(layout, ModelConfig(), weights(store, tiny_model()))
    assert replace(found, gguf={}) == replace(WHOLE, gguf={})
    assert found.gguf["llama.context_length"] == "128"
    assert found.context_size is None  # what the model was trained for is no wish


def test_what_is_stated_stays(store: Store, layout: Layout) -> None:
    stated = ModelConfig(quantization="Q4_K_M", parameters="8B", created="2025-03-24T13:36:21Z")
    found = complete(layout, stated, weights(store, tiny_model()))
    assert (found.quantization, found.parameters, found.created) == (
        *("Q4_K_M", "8B", "2025-03-24T13:36:21Z"),
    )
    assert found.architecture == "llama"


def test_a_whole_config_asks_no_weights(layout: Layout) -> None:
    missing = Artifact.of_layers([Descriptor(media.GGUF, DIGEST, 9)])
    assert complete(layout, WHOLE, missing) == WHOLE
    with pytest.raises(RunnerError) as caught:
        complete(layout, ModelConfig(), missing)
    assert caught.value.kind is Kind.INTEGRITY


def test_a_format_is_told_by_the_layers(layout: Layout) -> None:
    other = Artifact.of_layers([Descriptor(media.SAFETENSORS, DIGEST, 9)])
    assert complete(layout, ModelConfig(), other) == ModelConfig(format="safetensors")


def put(store: Store, layout: Layout, data: bytes) -> Descriptor:
    """A ModelPack without any facts."""
    config = store.inbox.add_document(media.CONFIG_MODELPACK, b'{"modelfs":{}}')
    layer = store.inbox.add_document(media.WEIGHT_MODELPACK, data)
    manifest = store.inbox.add_document(media.MANIFEST, Manifest.build(config, [layer]).raw)
    for blob in (config, layer, manifest):
        os.utime(layout.blob(blob.digest), (0, 0))
    return manifest


def test_headers_are_read_once(store: Store, layout: Layout) -> None:
    listed = put(store, layout, tiny_model())
    documents = Documents(layout)
    config = documents.read(listed)[1]
    assert config.architecture == "llama"
    assert documents.read(listed)[1] is config


def test_weights_that_are_not_sound_hide_no_model(store: Store, layout: Layout) -> None:
    config = Documents(layout).read(put(store, layout, b"not a model"))[1]
    assert config == ModelConfig()
