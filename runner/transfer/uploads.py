"""Files that came into the store before there was a model for them: a client sent their bytes.

They are blobs already, named by their digests, and need not be hashed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, ModelConfig, media
from runner.store import Store
from runner.store.heads import read_head
from runner.store.source import Source
from runner.transfer.ingredients import (
    Ingredient,
    look_at_adapter,
    look_at_projector,
    look_at_weights,
)


def open_weights(
    stack: ExitStack, store: Store, files: Mapping[str, Digest]
) -> tuple[list[Ingredient], ModelConfig]:
    """Look at the weights among GGUF files, which are all shards of a model by their names.

    Raises RunnerError: INVALID_REQUEST for a file that did not come in, INVALID_MODEL for no sound
    model.
    """
    found = _open_all(stack, store, files, projectors=False)
    if not found:
        raise RunnerError(
            Kind.INVALID_MODEL, "a projector alone is no model", hint="send the model's GGUF too"
        )
    items, config = look_at_weights([source for source, _ in found])
    blobs = [blob for _, blob in found]
    return [replace(item, stored=blob) for item, blob in zip(items, blobs, strict=True)], config


def open_projectors(
    stack: ExitStack, store: Store, files: Mapping[str, Digest]
) -> Iterator[Ingredient]:
    """Look at the multimodal projectors among GGUF files; raises as :func:`open_weights` does."""
    for source, blob in _open_all(stack, store, files, projectors=True):
        yield replace(look_at_projector(source), stored=blob)


def open_adapter(
    stack: ExitStack, store: Store, digest: Digest, *, number: int, architecture: str
) -> Ingredient:
    """Look at a LoRA adapter; raise RunnerError: INVALID_REQUEST, INVALID_MODEL."""
    source, blob = _open(stack, store, f"adapter {digest}", digest)
    return replace(look_at_adapter(source, number=number, architecture=architecture), stored=blob)


def _open_all(
    stack: ExitStack, store: Store, files: Mapping[str, Digest], *, projectors: bool
) -> list[tuple[Source, Descriptor]]:
    """Open the files that are projectors, or those that are not, in the order of their names."""
    found = [_open(stack, store, name, files[name]) for name in sorted(files)]
    return [
        (source, blob)
        for source, blob in found
        if (read_head(source).architecture == "clip") is projectors
    ]


def _open(stack: ExitStack, store: Store, name: str, digest: Digest) -> tuple[Source, Descriptor]:
    size_bytes = store.inbox.take_up(digest)
    if size_bytes is None:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{name[:120]!a}: {digest} is not here",
            hint="send its bytes first, to /api/blobs/DIGEST; what no model needs is kept an hour",
            param="files",
        )
    blob = Descriptor(media.GGUF, digest, size_bytes)
    return stack.enter_context(store.inbox.opened(blob, name)), blob
