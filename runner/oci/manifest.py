"""The image manifest of a model. A model's id is the sha256 of these bytes, as they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from runner.oci import media
from runner.oci.descriptor import Descriptor
from runner.oci.digest import Digest
from runner.oci.document import invalid, member, parse_object, render_object, require

MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # what registries and their clients agree on
MAX_LAYERS = 4096

_WHAT = "manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Config and layers of a model, with the bytes they were parsed from."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    raw: bytes
    media_type: str = media.MANIFEST

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a manifest; raise RunnerError(INVALID_MODEL).

        An index, an image for containers, and a config of a type that no model has are refused;
        so are weights in archives, which nobody would unpack.
        """
        value = parse_object(raw, limit_bytes=MAX_MANIFEST_BYTES, what=_WHAT)
        media_type = _check_shape(value)
        config = Descriptor.parse(value.get("config"), what="manifest config")
        items = require(value, "layers", list, what=_WHAT)
        if not 1 <= len(items) <= MAX_LAYERS:
            raise invalid(_WHAT, f"has {len(items)} layers; expected 1 to {MAX_LAYERS}")
        layers = tuple(
            Descriptor.parse(item, what=f"manifest layer {index}")
            for index, item in enumerate(items)
        )
        _check_is_model(media_type, config, layers)
        return cls(config, layers, raw, media_type)

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        artifact_type: str | None = None,
    ) -> Self:
        """Make a manifest of our own: the same content always gives the same bytes and id."""
        value = {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "config": config.render(),
            "layers": [layer.render() for layer in layers],
        }
        if artifact_type is not None:
            value["artifactType"] = artifact_type
        return cls(config, tuple(layers), render_object(value))

    @property
    def digest(self) -> Digest:
        """The model's id."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """What an index says of this manifest."""
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @property
    def blobs(self) -> Iterator[Descriptor]:
        """Config and layers: all that the manifest needs to be whole."""
        yield self.config
        yield from self.layers

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size_bytes for layer in self.layers)


def _check_shape(value: dict[str, Any]) -> str:
    """Refuse what is no manifest, or two things at once (a parser must not have to choose).

    Return the media type.
    """
    if value.get("schemaVersion") != 2:
        raise invalid(_WHAT, "is not of schema version 2")
    media_type: str = member(value, "mediaType", str, what=_WHAT) or media.MANIFEST
    if media_type not in media.MANIFESTS:
        raise invalid(_WHAT, f"has the media type {media_type[:120]!a}")
    for key in ("manifests", "fsLayers"):
        if key in value:
            raise invalid(_WHAT, f"has {key}: an index or an old image, not a model")
    return media_type


def _check_is_model(media_type: str, config: Descriptor, layers: Sequence[Descriptor]) -> None:
    """Refuse manifests of other things, before anything of theirs is fetched."""
    if config.media_type == media.CONFIG_CONTAINER:
        if not any(layer.media_type == media.OLLAMA_MODEL for layer in layers):
            raise invalid(_WHAT, "is of a container image, or of a model without GGUF weights")
        return
    if media_type != media.MANIFEST or config.media_type not in media.CONFIGS:
        raise invalid(
            _WHAT,
            f"has the config type {config.media_type[:120]!a} "
            f"(supported: {', '.join(media.CONFIGS)})",
        )
    for layer in layers:
        kind = layer.media_type.removeprefix(media.WEIGHTS_MODELPACK)
        if kind != layer.media_type and "tar" in kind:
            raise invalid(_WHAT, "has weights packed in a tar archive, which are not unpacked")
