"""The same files as layers of one format or another, and the documents that name them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from runner.oci import Descriptor, Manifest, ModelConfig, ModelFile, Role, media
from runner.oci.artifact import ADAPTER_FOLDER, role_of


class Format(StrEnum):
    """How a model is written down: Docker's way, or CNCF ModelPack's."""

    DOCKER = "docker"
    CNCF = "cncf"

    @classmethod
    def of(cls, manifest: Manifest) -> Format | None:
        """Tell which one a manifest is of; None for Ollama's, which we only read."""
        if manifest.config.media_type == media.CONFIG_MODELPACK:
            return cls.CNCF
        return cls.DOCKER if manifest.config.media_type in media.CONFIGS else None


@dataclass(frozen=True, slots=True)
class Documents:
    """A config, and all that its manifest needs but the config's own descriptor."""

    config: bytes
    config_type: str
    layers: tuple[Descriptor, ...]
    artifact_type: str | None

    def manifest(self, config: Descriptor) -> Manifest:
        """Write the manifest: the same files and facts always give the same bytes."""
        return Manifest.build(config, self.layers, artifact_type=self.artifact_type)


def write_documents(
    config: ModelConfig, files: Iterable[ModelFile], form: Format, *, is_folder: bool
) -> Documents:
    """Write a model down. ``is_folder``: a layer for each file of a folder, Docker's v0.2.

    The layers are not new: a descriptor that is of the format already stays as it is.
    """
    if form is Format.CNCF:
        layers = tuple(_to_modelpack(file) for file in files)
        config_type, artifact_type = media.CONFIG_MODELPACK, media.ARTIFACT_MODELPACK
    else:
        layers = tuple(_to_docker(file, is_named=is_folder) for file in files)
        config_type = media.CONFIG_V02 if is_folder else media.CONFIG_V01
        artifact_type = None
    facts = config.with_layers(layers)
    raw = facts.render_modelpack() if form is Format.CNCF else facts.render()
    return Documents(raw, config_type, layers, artifact_type)


def _to_docker(file: ModelFile, *, is_named: bool) -> Descriptor:
    media_type = DOCKER_TYPES.get(file.role, file.blob.media_type)
    has_name = media.FILE_PATH in file.blob.annotations
    if media_type == file.blob.media_type and (has_name or not is_named):
        return file.blob
    return _named(file, media_type)


def _to_modelpack(file: ModelFile) -> Descriptor:
    if file.role is Role.OTHER or file.blob.media_type.startswith(media.MODELPACK):
        return file.blob
    layer = _named(file, _modelpack_type(file))
    if role_of(layer) is file.role:
        return layer
    # Types tell little here, so names must tell what each file is.
    base = file.path.rpartition("/")[2]
    path = _TELLING_NAMES.get(file.role, "{}").format(base)
    return _named(replace(file, path=path), layer.media_type)


def _modelpack_type(file: ModelFile) -> str:
    is_document = file.role is Role.FILE and file.path.lower().endswith(".md")
    if file.role is Role.LICENSE or is_document:
        return media.DOC_MODELPACK
    is_weight = file.role not in (Role.CHAT_TEMPLATE, Role.FILE)
    return media.WEIGHT_MODELPACK if is_weight else media.FILE_MODELPACK


def _named(file: ModelFile, media_type: str) -> Descriptor:
    path = {media.FILE_PATH: file.path}
    return Descriptor(media_type, file.blob.digest, file.blob.size_bytes, path)


_TELLING_NAMES = {
    Role.GGUF: "{}.gguf",
    Role.SAFETENSORS: "{}.safetensors",
    Role.DDUF: "{}.dduf",
    Role.MMPROJ: "{}.mmproj",
    Role.ADAPTER: f"{ADAPTER_FOLDER}{{}}.gguf",
    Role.CHAT_TEMPLATE: "{}.jinja",
    Role.LICENSE: "{}.license",
}

DOCKER_TYPES = {
    Role.GGUF: media.GGUF,
    Role.SAFETENSORS: media.SAFETENSORS,
    Role.DDUF: media.DDUF,
    Role.MMPROJ: media.MMPROJ,
    Role.ADAPTER: media.LORA,
    Role.CHAT_TEMPLATE: media.CHAT_TEMPLATE,
    Role.LICENSE: media.LICENSE,
    Role.FILE: media.MODEL_FILE,
}
