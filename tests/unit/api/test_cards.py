"""What a model's card tells."""

from __future__ import annotations

from runner.api import cards
from runner.oci import Descriptor, Digest, Manifest, media

CONFIG, WEIGHTS, PROJECTOR = (Digest.of(text) for text in (b"{}", b"weights", b"projector"))


def test_files_are_told_with_what_they_are_for() -> None:
    layers = [Descriptor(media.GGUF, WEIGHTS, 7), Descriptor(media.MMPROJ, PROJECTOR, 9)]
    manifest = Manifest.build(Descriptor(media.CONFIG_V01, CONFIG, 2), layers)
    assert cards.files(manifest) == [
        {"path": "model.gguf", "role": "gguf", "size": 7, "digest": str(WEIGHTS)},
        {"path": "mmproj.gguf", "role": "mmproj", "size": 9, "digest": str(PROJECTOR)},
    ]
