"""The image index: several manifests under one name, of which a machine takes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from runner.errors import Kind, RunnerError
from runner.oci import media
from runner.oci.descriptor import Descriptor
from runner.oci.document import invalid, member, parse_object, require

MAX_INDEX_BYTES = 4 * 1024 * 1024  # as of manifests
MAX_MANIFESTS = 1024

_WHAT = "image index"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Platform:
    """A machine in the image specification's words (those of Go): ``linux/arm64``."""

    os: str
    architecture: str

    @classmethod
    def of_machine(cls, system: str, machine: str) -> Self:
        """Translate what ``uname`` says: ``Linux``, ``x86_64``."""
        lower = machine.lower()
        return cls(system.lower(), _ARCHITECTURES.get(lower, lower))

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """The manifests that could be a model, in their order; None: for every platform."""

    candidates: tuple[tuple[Descriptor, Platform | None], ...]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse an index; raise RunnerError(INVALID_MODEL).

        Attestations, manifests of unknown types and further indexes inside are no candidates.
        """
        value = parse_object(raw, limit_bytes=MAX_INDEX_BYTES, what=_WHAT)
        if value.get("schemaVersion") != 2:
            raise invalid(_WHAT, "is not of schema version 2")
        media_type = member(value, "mediaType", str, what=_WHAT)
        if media_type not in (None, *media.INDEXES):
            raise invalid(_WHAT, f"has the media type {media_type[:120]!a}")
        for key in ("layers", "config", "fsLayers"):
            if key in value:
                raise invalid(_WHAT, f"has {key} too: a manifest and an index at once")
        items = require(value, "manifests", list, what=_WHAT)
        if len(items) > MAX_MANIFESTS:
            raise invalid(_WHAT, f"has {len(items)} manifests; at most {MAX_MANIFESTS} are allowed")
        listed = [
            (Descriptor.parse(item, what=f"{_WHAT} entry"), _platform(item)) for item in items
        ]
        return cls(tuple(pair for pair in listed if _is_candidate(*pair)))

    def choose(self, platform: Platform) -> Descriptor:
        """Choose the first manifest for the platform, else the first that is for every one.

        Model files are the same everywhere, so a lone manifest is taken whatever its platform.
        Raises RunnerError(INVALID_MODEL) when none fits. Source: image specification, image index.
        """
        if not self.candidates:
            raise invalid(_WHAT, "lists no manifest of a model")
        for wanted in (platform, None):
            for descriptor, found in self.candidates:
                if found == wanted:
                    return descriptor
        if len(self.candidates) == 1:
            return self.candidates[0][0]
        there = sorted({str(found) for _, found in self.candidates})
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"the model is not there for {platform}, only for {', '.join(there)[:200]}",
            hint="name the one you want by its digest: NAME@sha256:…",
            details={"platforms": there},
        )


def _platform(item: dict[str, Any]) -> Platform | None:
    value = member(item, "platform", dict, what=_WHAT) or {}
    system = member(value, "os", str, what=_WHAT) or ""
    architecture = member(value, "architecture", str, what=_WHAT) or ""
    return Platform(system, architecture) if system or architecture else None


def _is_candidate(descriptor: Descriptor, platform: Platform | None) -> bool:
    is_attestation = media.REFERENCE_TYPE in descriptor.annotations or (
        platform is not None and platform.os == "unknown"
    )
    return descriptor.media_type in media.MANIFESTS and not is_attestation
