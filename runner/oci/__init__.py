"""OCI values: digests, references, descriptors, manifests and indexes, model configs and files.

Pure: text and bytes come in, frozen values or RunnerErrors go out. Knows no file and no network.
"""

from __future__ import annotations

from runner.oci import media
from runner.oci.artifact import Artifact, ModelFile, Role
from runner.oci.config import ModelConfig
from runner.oci.descriptor import Descriptor
from runner.oci.digest import Digest
from runner.oci.filepath import safe_path
from runner.oci.index import ImageIndex, Platform
from runner.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from runner.oci.reference import Reference, find_registry

__all__ = [
    "MAX_MANIFEST_BYTES",
    "Artifact",
    "Descriptor",
    "Digest",
    "ImageIndex",
    "Manifest",
    "ModelConfig",
    "ModelFile",
    "Platform",
    "Reference",
    "Role",
    "find_registry",
    "media",
    "safe_path",
]
