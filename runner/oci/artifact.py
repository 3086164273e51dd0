"""What the layers of a model are, whichever of four formats it comes in: one view for all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from runner.errors import Kind, RunnerError
from runner.oci import media
from runner.oci.descriptor import Descriptor
from runner.oci.filepath import safe_path
from runner.oci.manifest import Manifest

ADAPTER_FOLDER = "lora/"  # ModelPack has no type for adapters: we put them here


class Role(StrEnum):
    """What a file is for. The value is shown to people."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    DDUF = "dduf"
    MMPROJ = "mmproj"
    ADAPTER = "lora"
    CHAT_TEMPLATE = "chat template"
    LICENSE = "license"
    FILE = "file"  # of the model, for other engines
    OTHER = "ignored"  # of a type we do not know: kept, never opened


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A layer and what it is. ``path`` is relative, safe on every system, unique in its model."""

    role: Role
    blob: Descriptor
    path: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model's files in the order of its layers."""

    files: tuple[ModelFile, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Artifact:
        """Look at a manifest's layers."""
        return cls.of_layers(manifest.layers)

    @classmethod
    def of_layers(cls, layers: Sequence[Descriptor]) -> Artifact:
        """Look at layers: their types first, their names where types do not tell."""
        roles = [role_of(layer) for layer in layers]
        paths = _paths(zip(roles, layers, strict=True))
        return cls(tuple(map(ModelFile, roles, layers, paths)))

    def having(self, role: Role) -> tuple[ModelFile, ...]:
        """Return the files of a role, in the order of their layers."""
        return tuple(file for file in self.files if file.role is role)

    @property
    def weights(self) -> tuple[ModelFile, ...]:
        """Return the GGUF weights: the parts of a sharded model by the numbers in their names.

        Without such names the order of the layers counts.
        """
        found = self.having(Role.GGUF)
        if all(_SHARD.search(file.path) for file in found):
            return tuple(sorted(found, key=lambda file: file.path))
        return found

    @property
    def runnable_weights(self) -> tuple[ModelFile, ...]:
        """``weights``, at least one; raises RunnerError(INVALID_MODEL) that says what there is."""
        if self.weights:
            return self.weights
        others = [role for role in (Role.SAFETENSORS, Role.DDUF) if self.having(role)]
        problem = f"its weights are {others[0]}" if others else "it has no weights"
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"the model has no GGUF weights: {problem}",
            hint="only GGUF models can be run; get this model's GGUF version",
        )

    @property
    def companions(self) -> tuple[ModelFile, ...]:
        """Return what is loaded with the weights: one projector, and all adapters."""
        return (*self.having(Role.MMPROJ)[:1], *self.having(Role.ADAPTER))

    @property
    def format(self) -> str:
        """The format of the weights as configs name it; empty when there are none."""
        formats = (Role.GGUF, Role.SAFETENSORS, Role.DDUF)
        return next((str(role) for role in formats if self.having(role)), "")


def role_of(layer: Descriptor) -> Role:
    """Tell what a layer is for."""
    role = _ROLES.get(layer.media_type)
    if role is not None:
        return role
    name = layer.annotations.get(media.FILE_PATH, "")
    if layer.media_type in (media.WEIGHT_MODELPACK, media.WEIGHT_GGUF_MODELPACK):
        # Without a name it may be GGUF, and its header tells before it is loaded.
        return _weight_role(name or "model.gguf")
    if layer.media_type == media.DOC_MODELPACK:
        return Role.LICENSE if not name or classify(name) is Role.LICENSE else Role.FILE
    if layer.media_type == media.FILE_MODELPACK:
        return Role.CHAT_TEMPLATE if classify(name) is Role.CHAT_TEMPLATE else Role.FILE
    return Role.OTHER


def classify(name: str) -> Role:
    """Tell what a file is by its name alone (dmr-contract.md 4.4).

    But a ``chat_template.json`` is no template: it is for other engines.
    """
    path = name.lower()
    base = path.rpartition("/")[2]
    if path.endswith(".gguf"):
        return Role.MMPROJ if "mmproj" in base else Role.GGUF
    for ending, role in _ENDINGS:
        if base.endswith(ending):
            return role
    if "chat_template" in base and not base.endswith(".json"):
        return Role.CHAT_TEMPLATE
    if any(word in base for word in ("license", "licence", "copying", "notice")):
        return Role.LICENSE
    if base.endswith((".md", ".txt", ".json", ".vocab")) or base == "tokenizer.model":
        return Role.FILE
    return Role.OTHER


def _weight_role(name: str) -> Role:
    if name.startswith(ADAPTER_FOLDER) and name.endswith(".gguf"):
        return Role.ADAPTER
    role = classify(name)
    # DMR names a projector `model.mmproj`, with an ending of its own.
    return Role.MMPROJ if role is Role.OTHER and "mmproj" in name.lower() else role


def _paths(layers: Iterable[tuple[Role, Descriptor]]) -> Iterator[str]:
    """Name each file: as its annotation says where that is safe and free, else after its role."""
    taken: set[str] = set()
    for role, layer in layers:
        path = safe_path(layer.annotations.get(media.FILE_PATH, ""))
        if path is None or path.casefold() in taken:
            path = next(name for name in _names(role) if name not in taken)
        taken.add(path.casefold())
        yield path


def _names(role: Role) -> Iterator[str]:
    stem, ending = _DEFAULT_NAMES[role]
    yield f"{stem}{ending}"
    for number in count(2):
        yield f"{stem}-{number}{ending}"


_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z", re.ASCII)

_ROLES = {
    media.GGUF: Role.GGUF,
    media.SAFETENSORS: Role.SAFETENSORS,
    media.DDUF: Role.DDUF,
    media.MMPROJ: Role.MMPROJ,
    media.CHAT_TEMPLATE: Role.CHAT_TEMPLATE,
    media.LICENSE: Role.LICENSE,
    media.MODEL_FILE: Role.FILE,
    media.LORA: Role.ADAPTER,
    media.WEIGHT_SAFETENSORS_MODELPACK: Role.SAFETENSORS,
    media.OLLAMA_MODEL: Role.GGUF,
    media.OLLAMA_ADAPTER: Role.ADAPTER,
    media.OLLAMA_PROJECTOR: Role.MMPROJ,
    media.OLLAMA_LICENSE: Role.LICENSE,
    # Ollama's template is not Jinja but Go's: left out, the GGUF has its own.
}

_ENDINGS = (
    (".safetensors", Role.SAFETENSORS),
    (".dduf", Role.DDUF),
    (".jinja", Role.CHAT_TEMPLATE),
)

_DEFAULT_NAMES = {
    Role.GGUF: ("model", ".gguf"),
    Role.SAFETENSORS: ("model", ".safetensors"),
    Role.DDUF: ("model", ".dduf"),
    Role.MMPROJ: ("mmproj", ".gguf"),
    Role.ADAPTER: (f"{ADAPTER_FOLDER}adapter", ".gguf"),
    Role.CHAT_TEMPLATE: ("template", ".jinja"),
    Role.LICENSE: ("license", ".txt"),
    Role.FILE: ("file", ""),
    Role.OTHER: ("other", ""),
}
