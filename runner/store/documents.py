"""Manifest and config of models, parsed once as long as their files stay as they were."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from runner.errors import RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Artifact, Descriptor, Digest, Manifest, ModelConfig
from runner.oci.config import MAX_CONFIG_BYTES
from runner.store.blobs import read_blob
from runner.store.heads import complete
from runner.store.layout import Layout
from runner.store.stamp import Stamp, stamp

MAX_KEPT = 128  # models
MAX_KEPT_BYTES = 64 * 1024  # of a config; most have a few KiB


@dataclass(frozen=True, slots=True)
class Kept:
    """Documents, and the files they were read from."""

    manifest: Manifest
    config: ModelConfig
    stamps: tuple[Stamp, Stamp]


class Documents:
    """Reads the documents of one store. Threads may read at the same time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kept: dict[Digest, Kept] = {}
        self._lock = threading.Lock()

    def read(self, descriptor: Descriptor) -> tuple[Manifest, ModelConfig]:
        """Read the manifest and its config, and verify both; raise RunnerError(INTEGRITY).

        What the config leaves out is added from the weights, as long as these are whole.
        """
        kept = self._kept.get(descriptor.digest)
        if kept is not None and kept.stamps == (
            self._stamp(descriptor),
            self._stamp(kept.manifest.config),
        ):
            return kept.manifest, kept.config
        # Stamps come before content, so that they never vouch for more than was read.
        manifest_stamp = self._stamp(descriptor)
        manifest = Manifest.parse(
            read_blob(self._layout, descriptor, limit_bytes=MAX_MANIFEST_BYTES)
        )
        config_stamp = self._stamp(manifest.config)
        config = ModelConfig.parse(
            read_blob(self._layout, manifest.config, limit_bytes=MAX_CONFIG_BYTES)
        )
        try:
            config = complete(self._layout, config, Artifact.of(manifest))
        except RunnerError:
            return manifest, config  # it is listed as it is; loading it will say what is wrong
        if manifest_stamp and config_stamp and manifest.config.size_bytes <= MAX_KEPT_BYTES:
            self._keep(descriptor.digest, Kept(manifest, config, (manifest_stamp, config_stamp)))
        return manifest, config

    def _stamp(self, blob: Descriptor) -> Stamp | None:
        return stamp(self._layout.blob(blob.digest))

    def _keep(self, digest: Digest, kept: Kept) -> None:
        with self._lock:
            self._kept.pop(digest, None)
            self._kept[digest] = kept
            if len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
