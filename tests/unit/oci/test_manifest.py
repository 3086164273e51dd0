from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Manifest, media

A, B = Digest("sha256", "a" * 64), Digest("sha256", "b" * 64)


def document(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": {"mediaType": media.CONFIG_V01, "size": 372, "digest": str(A)},
        "layers": [
            {
                "mediaType": media.GGUF,
                "size": 270590880,
                "digest": str(B),
                "annotations": {"org.cncf.model.filepath": "model.gguf"},
            }
        ],
    }
    value.update(changes)
    return {key: part for key, part in value.items() if part is not None}


def render(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_manifest_is_parsed_and_its_bytes_are_kept() -> None:
    raw = b" " + render(document())
    manifest = Manifest.parse(raw)
    assert manifest.config == Descriptor(media.CONFIG_V01, A, 372)
    assert manifest.layers == (
        Descriptor(media.GGUF, B, 270590880, {"org.cncf.model.filepath": "model.gguf"}),
    )
    assert list(manifest.blobs) == [manifest.config, *manifest.layers]
    assert manifest.size_bytes == 270590880
    assert manifest.raw == raw
    assert manifest.digest.hex == hashlib.sha256(raw).hexdigest()


def test_a_manifest_of_our_own_always_has_the_same_bytes() -> None:
    manifest = Manifest.build(Descriptor(media.CONFIG_V01, A, 3), [Descriptor(media.GGUF, B, 4)])
    assert manifest.raw == (
        b'{"config":{"digest":"sha256:' + b"a" * 64 + b'","mediaType":"'
        b'application/vnd.docker.ai.model.config.v0.1+json","size":3},"layers":[{"digest":"sha256:'
        + b"b"
        * 64
        + b'","mediaType":"application/vnd.docker.ai.gguf.v3","size":4}],'
        b'"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
    )
    assert Manifest.parse(manifest.raw) == manifest


@pytest.mark.parametrize("config", [media.CONFIG_V01, media.CONFIG_V02, media.CONFIG_MODELPACK])
def test_the_three_config_types_of_models_are_taken(config: str) -> None:
    value = document(config={"mediaType": config, "size": 1, "digest": str(A)})
    assert Manifest.parse(render(value)).config.media_type == config


LAYER = document()["layers"][0]
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
CONTAINER = {"mediaType": media.CONFIG_CONTAINER, "size": 1, "digest": str(A)}
MODELPACK = "application/vnd.cncf.model.weight.v1."
BAD: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no JSON", b"{"),
    ("trailing bytes", render(document()) + b"x"),
    ("not UTF-8", b'{"a":"\xff"}'),
    ("a lone surrogate", b'{"a":"\\ud800"}'),
    ("a list", b"[]"),
    ("NaN", b'{"schemaVersion":NaN}'),
    ("a number of 5000 digits", b'{"schemaVersion":' + b"1" * 5000 + b"}"),
    ("100000 brackets", b'{"a":' + b"[" * 100_000),
    ("a key twice", b'{"schemaVersion":2,"schemaVersion":2}'),
    ("too large", b" " * (MAX_MANIFEST_BYTES + 1)),
    ("no schema version", render(document(schemaVersion=None))),
    ("schema version 1", render(document(schemaVersion=1))),
    ("an index", render(document(mediaType=media.INDEX))),
    ("an index in disguise", render(document(manifests=[]))),
    ("an old image", render(document(fsLayers=[]))),
    ("a Docker image", render(document(mediaType=DOCKER_IMAGE))),
    ("a container of Docker's", render(document(mediaType=DOCKER_IMAGE, config=CONTAINER))),
    ("weights in a tar", render(document(layers=[{**LAYER, "mediaType": MODELPACK + "tar"}]))),
    ("weights in a tgz", render(document(layers=[{**LAYER, "mediaType": MODELPACK + "tar+gzip"}]))),
    ("a media type that is no text", render(document(mediaType=7))),
    ("no config", render(document(config=None))),
    ("a container's config", render(document(config={**LAYER, "mediaType": OCI_CONFIG}))),
    ("no layers", render(document(layers=[]))),
    ("layers that are no list", render(document(layers={}))),
    ("5000 layers", render(document(layers=[LAYER] * 5000))),
    ("a layer that is no object", render(document(layers=["x"]))),
    ("a layer without a size", render(document(layers=[{**LAYER, "size": None}]))),
    ("a negative size", render(document(layers=[{**LAYER, "size": -1}]))),
    ("a huge size", render(document(layers=[{**LAYER, "size": 2**63}]))),
    ("a size that is a truth value", render(document(layers=[{**LAYER, "size": True}]))),
    ("a size that is a fraction", render(document(layers=[{**LAYER, "size": 1.5}]))),
    ("a digest with a path", render(document(layers=[{**LAYER, "digest": "sha256:../../x"}]))),
    ("an upper-case digest", render(document(layers=[{**LAYER, "digest": str(B).upper()}]))),
    ("md5", render(document(layers=[{**LAYER, "digest": "md5:" + "0" * 32}]))),
    ("annotations that are numbers", render(document(layers=[{**LAYER, "annotations": {"a": 1}}]))),
]  # fmt: skip


@pytest.mark.parametrize("raw", [raw for _, raw in BAD], ids=[name for name, _ in BAD])
def test_d11_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        Manifest.parse(raw)
    assert caught.value.kind is Kind.INVALID_MODEL
    assert caught.value.hint


def test_d11_foreign_urls_are_ignored() -> None:
    layer = {**LAYER, "urls": ["http://169.254.169.254/"]}
    assert Manifest.parse(render(document(layers=[layer]))).layers[0].render() == LAYER


def test_a_manifest_of_ollamas_keeps_its_type() -> None:
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "size": 1, "digest": str(B)}
        for kind in ("model", "template", "license", "params")
    ]
    raw = render(document(mediaType=DOCKER_IMAGE, config=CONTAINER, layers=layers))
    manifest = Manifest.parse(raw)
    assert manifest.descriptor == Descriptor(DOCKER_IMAGE, Digest.of(raw), len(raw))
    assert [layer.media_type.rpartition(".")[2] for layer in manifest.layers] == [
        *("model", "template", "license", "params")
    ]
    with pytest.raises(RunnerError, match="of a container image, or of a model without GGUF"):
        Manifest.parse(render(document(config=CONTAINER, layers=layers[1:])))


def test_an_artifact_type_is_written_on_request() -> None:
    config = Descriptor(media.CONFIG_MODELPACK, A, 3)
    layers = [Descriptor(media.WEIGHT_MODELPACK, B, 4)]
    manifest = Manifest.build(config, layers, artifact_type=media.ARTIFACT_MODELPACK)
    assert json.loads(manifest.raw)["artifactType"] == media.ARTIFACT_MODELPACK
    assert Manifest.parse(manifest.raw) == manifest
