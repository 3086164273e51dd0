"""The descriptor: type, digest and size of a blob. The only currency between the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from runner.errors import RunnerError
from runner.oci.digest import Digest
from runner.oci.document import invalid, require, strings


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of one blob. Annotations are untrusted text, never a path."""

    media_type: str
    digest: Digest
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, *, what: str) -> Self:
        """Parse a descriptor's JSON object; raise RunnerError(INVALID_MODEL).

        Foreign ``urls`` are ignored: content comes from where the manifest came from.
        """
        if not isinstance(value, dict):
            raise invalid(what, "is not an object")
        try:
            digest = Digest.parse(require(value, "digest", str, what=what))
        except RunnerError as error:
            raise invalid(what, f"has an {error.message}") from error
        return cls(
            media_type=require(value, "mediaType", str, what=what),
            digest=digest,
            size_bytes=require(value, "size", int, what=what),
            annotations=strings(value, "annotations", what=what),
        )

    def render(self) -> dict[str, Any]:
        """Return the JSON object."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value
