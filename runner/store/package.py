"""Makes a model out of local files: checks them, stores their bytes, writes config and manifest.

Everything the artifact says comes from the bytes of its files, so the same files packaged twice
give the same id, whatever their names and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.gguf import (
    ModelMetadata,
    check_shards,
    describe,
    parse_shard_name,
    render_shard_name,
)
from runner.oci import Descriptor, Manifest, ModelConfig, media
from runner.store.heads import read_head
from runner.store.ingest import ingest_bytes, ingest_file
from runner.store.layout import Layout
from runner.store.source import Source, check_not_hollow, measure, open_source

MAX_TEXT_BYTES = 1024 * 1024  # of a licence or a chat template
MAX_CONTEXT_SIZE = 2**31 - 1
MODEL_STEM = "model"  # of file names in artifacts and bundles

_PARTS_OF_MODELS = {
    "adapter": "a LoRA adapter",
    "mmproj": "a multimodal projector",
    "imatrix": "an importance matrix",
}

Progress = Callable[[int, int], None]  # bytes done, bytes to do (grows when files must be copied)


@dataclass(frozen=True, slots=True)
class Extras:
    """What may accompany the weights."""

    licenses: Sequence[Path] = ()
    chat_template: Path | None = None  # Jinja; replaces the model's own
    mmproj: Path | None = None  # multimodal projector, a GGUF file
    context_size: int | None = None  # tokens the model is to be run with


def package_gguf(
    layout: Layout, paths: Sequence[Path], extras: Extras, *, progress: Progress | None
) -> Manifest:
    """Store the files of a GGUF model and its documents; the caller then gives it a tag.

    Raises RunnerError: USAGE for a file that cannot be read, INVALID_MODEL for one that is no
    sound model, INTEGRITY when one changes meanwhile, DISK_FULL.
    """
    _check_context_size(extras.context_size)
    with ExitStack() as stack:
        weights = [stack.enter_context(open_source(path)) for path in expand_shards(paths)]
        metadata = _read_model(weights)
        projector = stack.enter_context(open_source(extras.mmproj)) if extras.mmproj else None
        if projector:
            _check_projector(projector)
        texts = list(_read_texts(extras))
        meter = _Meter(progress, [*weights, *([projector] if projector else [])])
        layers = [
            _store(layout, source, media.GGUF, _layer_name(index, len(weights)), meter)
            for index, source in enumerate(weights, start=1)
        ]
        layers += [_store_text(layout, media_type, text) for media_type, text in texts]
        if projector:
            layers.append(_store(layout, projector, media.MMPROJ, f"{MODEL_STEM}.mmproj", meter))
    return _store_documents(layout, metadata, layers, extras.context_size)


def expand_shards(paths: Sequence[Path]) -> list[Path]:
    """Return all files of the model, in order: for one shard, those that belong to it too."""
    shard = parse_shard_name(paths[0].name) if len(paths) == 1 else None
    if shard is None:
        return sorted(paths)
    return [
        paths[0].with_name(render_shard_name(shard.stem, index, shard.count))
        for index in range(1, shard.count + 1)
    ]


def _check_context_size(context_size: int | None) -> None:
    if context_size is not None and not 1 <= context_size <= MAX_CONTEXT_SIZE:
        raise RunnerError(
            Kind.USAGE,
            f"context size {context_size} is out of range",
            hint="give a number of tokens from 1 up",
            param="context_size",
        )


def _read_model(weights: Sequence[Source]) -> ModelMetadata:
    """Check the headers of all weight files and that they are a model, not a part of one."""
    parts = []
    for source in weights:
        parts.append(read_head(source))
        check_not_hollow(source)
    check_shards(parts)
    metadata = describe(*parts)
    kind = "mmproj" if metadata.architecture == "clip" else parts[0].text("general.type")
    if kind in _PARTS_OF_MODELS:
        raise _refuse(weights[0], f"is {_PARTS_OF_MODELS[kind]}, not a language model")
    if metadata.parameters == 0:
        raise _refuse(weights[0], "is a vocabulary without weights")
    return metadata


def _check_projector(source: Source) -> None:
    if read_head(source).architecture != "clip":
        raise _refuse(source, "is not a multimodal projector")


def _read_texts(extras: Extras) -> Iterator[tuple[str, bytes]]:
    for path in extras.licenses:
        yield media.LICENSE, _read_text(path)
    if extras.chat_template:
        yield media.CHAT_TEMPLATE, _read_text(extras.chat_template)


def _read_text(path: Path) -> bytes:
    with open_source(path) as source:
        text = source.head(MAX_TEXT_BYTES + 1)
    problem = None
    if not text.strip():
        problem = "is empty"
    elif len(text) > MAX_TEXT_BYTES:
        problem = f"is larger than {MAX_TEXT_BYTES} bytes"
    elif b"\0" in text:
        problem = "is not a text"
    if problem:
        raise RunnerError(Kind.USAGE, f"{path} {problem}", hint="give the path of a text file")
    return text


def _store(layout: Layout, source: Source, media_type: str, name: str, meter: _Meter) -> Descriptor:
    measured = measure(source, meter.add)
    ingest_file(layout, source, measured, on_copy=meter.add_extra(source))
    return Descriptor(media_type, measured.digest, measured.size_bytes, {media.FILE_PATH: name})


def _store_text(layout: Layout, media_type: str, text: bytes) -> Descriptor:
    measured = ingest_bytes(layout, text)
    return Descriptor(media_type, measured.digest, measured.size_bytes)


def _store_documents(
    layout: Layout,
    metadata: ModelMetadata,
    layers: Sequence[Descriptor],
    context_size: int | None,
) -> Manifest:
    """Write config and manifest. No time is written: it would give each packaging another id."""
    config = ModelConfig(
        format="gguf",
        quantization=metadata.quantization,
        parameters=metadata.parameters_text,
        architecture=metadata.architecture,
        size=metadata.size_text,
        gguf=metadata.kv,
        context_size=context_size,
        diff_ids=tuple(layer.digest for layer in layers),
    )
    stored = ingest_bytes(layout, config.render())
    manifest = Manifest.build(
        Descriptor(media.CONFIG_V01, stored.digest, stored.size_bytes), layers
    )
    ingest_bytes(layout, manifest.raw)
    return manifest


def _layer_name(index: int, count: int) -> str:
    return f"{MODEL_STEM}.gguf" if count == 1 else render_shard_name(MODEL_STEM, index, count)


def _refuse(source: Source, problem: str) -> RunnerError:
    return RunnerError(
        Kind.INVALID_MODEL, f"{source.path.name} {problem}", hint="give the model's own GGUF file"
    )


class _Meter:
    """Adds up progress over several files."""

    def __init__(self, progress: Progress | None, sources: Sequence[Source]) -> None:
        self._progress = progress
        self._done = 0
        self._total = sum(source.size_bytes for source in sources)

    def add(self, size: int) -> None:
        """Count bytes that were hashed or copied."""
        self._done += size
        if self._progress:
            self._progress(self._done, self._total)

    def add_extra(self, source: Source) -> Callable[[int], None]:
        """Return a counter for a copy of a file, which was not in the plan."""
        is_first = True

        def count(size: int) -> None:
            nonlocal is_first
            if is_first:
                self._total += source.size_bytes
                is_first = False
            self.add(size)

        return count
