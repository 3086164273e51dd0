"""The files of the user that make a model: opened, looked at, refused where they are not sound.

Nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    render_size,
)
from runner.oci import Descriptor, ModelConfig, Role, safe_path
from runner.oci.artifact import classify
from runner.oci.document import parse_object
from runner.store.heads import read_head
from runner.store.source import Source, check_not_hollow, open_source
from runner.transfer import safetensors

MAX_FOLDER_FILES = 500  # all of them are open at once
MAX_TEXT_BYTES = 1024 * 1024  # of a licence, a chat template or a config.json
MODEL_STEM = "model"  # of file names in artifacts

_PARTS_OF_MODELS = {
    "adapter": "a LoRA adapter",
    "mmproj": "a multimodal projector",
    "imatrix": "an importance matrix",
}


@dataclass(frozen=True, slots=True)
class Ingredient:
    """An open file, or a text that was read, and the layer it will be."""

    role: Role
    content: Source | bytes
    path: str | None  # of the layer's annotation; None: it needs no name
    stored: Descriptor | None = None  # the blob that it is already; None: it is to be stored


def open_gguf(stack: ExitStack, paths: Sequence[Path]) -> tuple[list[Ingredient], ModelConfig]:
    """Open the files of a GGUF model, all shards for one, and tell what the model is.

    Raises RunnerError: USAGE for a file that cannot be read, INVALID_MODEL for no sound model.
    """
    return look_at_weights(
        [stack.enter_context(open_source(path)) for path in expand_shards(paths)]
    )


def look_at_weights(sources: Sequence[Source]) -> tuple[list[Ingredient], ModelConfig]:
    """Look at all files of a GGUF model, in order, and tell what the model is.

    Raises RunnerError(INVALID_MODEL) for no sound model.
    """
    facts = _read_model(sources)
    config = ModelConfig(
        format="gguf",
        quantization=facts.quantization,
        parameters=facts.parameters_text,
        architecture=facts.architecture,
        size=facts.size_text,
        gguf=facts.kv,
    )
    count = len(sources)
    names = [
        f"{MODEL_STEM}.gguf" if count == 1 else render_shard_name(MODEL_STEM, number, count)
        for number in range(1, count + 1)
    ]
    return [
        Ingredient(Role.GGUF, source, name) for source, name in zip(sources, names, strict=True)
    ], config


def expand_shards(paths: Sequence[Path]) -> list[Path]:
    """Return all files of the model, in order: for one shard, those that belong to it too."""
    shard = parse_shard_name(paths[0].name) if len(paths) == 1 else None
    if shard is None:
        return sorted(paths)
    return [
        paths[0].with_name(render_shard_name(shard.stem, index, shard.count))
        for index in range(1, shard.count + 1)
    ]


def open_folder(stack: ExitStack, folder: Path) -> tuple[list[Ingredient], ModelConfig]:
    """Open all files of a folder with safetensors weights, and tell what the model is.

    Files whose names begin with a dot and symbolic links are left out, as Docker does. Raises
    RunnerError: USAGE for a folder or file that cannot be taken, INVALID_MODEL for weights that
    are not sound.
    """
    paths = [path for path in _walk(folder) if path.is_file() and not path.is_symlink()]
    if len(paths) > MAX_FOLDER_FILES:
        raise _unusable(folder, f"holds {len(paths)} files; at most {MAX_FOLDER_FILES} are taken")
    found = [_open_in(stack, folder, path) for path in paths]
    weights = [item.content for item in found if item.role is Role.SAFETENSORS]
    heads = [_read_safetensors(source) for source in weights if isinstance(source, Source)]
    if not heads:
        raise _unusable(
            folder,
            "holds no .safetensors file",
            hint="symbolic links are left out: give the folder that holds the files themselves",
        )
    config = ModelConfig(
        format="safetensors",
        quantization=safetensors.quantization(heads),
        parameters=safetensors.parameters_text(heads),
        architecture=_model_type(folder),
        size=render_size(sum(s.size_bytes for s in weights if isinstance(s, Source))),
        safetensors=safetensors.shown(heads),
    )
    return found, config


def open_projector(stack: ExitStack, path: Path) -> Ingredient:
    """Open a multimodal projector; raise RunnerError: USAGE, INVALID_MODEL."""
    return look_at_projector(stack.enter_context(open_source(path)))


def look_at_projector(source: Source) -> Ingredient:
    """Check that a file is a multimodal projector; raise RunnerError(INVALID_MODEL)."""
    if read_head(source).architecture != "clip":
        raise _refuse(source, "is not a multimodal projector")
    return Ingredient(Role.MMPROJ, source, f"{MODEL_STEM}.mmproj")


def open_adapter(stack: ExitStack, path: Path, *, number: int, architecture: str) -> Ingredient:
    """Open a LoRA adapter for a model of an architecture; raise RunnerError: USAGE, INVALID_MODEL.

    ``number`` counts from 1, in the order in which a model's adapters are applied.
    """
    source = stack.enter_context(open_source(path))
    return look_at_adapter(source, number=number, architecture=architecture)


def look_at_adapter(source: Source, *, number: int, architecture: str) -> Ingredient:
    """Check that a file is a LoRA adapter for that; raise RunnerError(INVALID_MODEL)."""
    head = read_head(source)
    if head.text("general.type") != "adapter":
        raise _refuse(source, "is not a LoRA adapter", hint="give a GGUF file of type adapter")
    if head.architecture != architecture:
        raise _refuse(
            source,
            f"is an adapter for {head.architecture!a}, but the model is {architecture!a}",
            hint="get the adapter that was made for this model",
        )
    return Ingredient(Role.ADAPTER, source, f"lora/adapter-{number}.gguf")


def read_text(role: Role, path: Path) -> Ingredient:
    """Read a licence or a chat template; raise RunnerError(USAGE)."""
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
    return Ingredient(role, text, None)


def _read_model(weights: Sequence[Source]) -> ModelMetadata:
    """Check the headers of all weight files and that they are a model, not a part of one."""
    parts = []
    for source in weights:
        parts.append(read_head(source))
        check_not_hollow(source)
    check_shards(parts)
    facts = describe(*parts)
    kind = "mmproj" if facts.architecture == "clip" else parts[0].text("general.type")
    if kind in _PARTS_OF_MODELS:
        raise _refuse(weights[0], f"is {_PARTS_OF_MODELS[kind]}, not a language model")
    if facts.parameters == 0:
        raise _refuse(weights[0], "is a vocabulary without weights")
    return facts


def _walk(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder and below, in one order everywhere."""
    try:
        children = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise _unusable(folder, f"cannot be read: {error.strerror}") from error
    for path in children:
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _open_in(stack: ExitStack, folder: Path, path: Path) -> Ingredient:
    name = path.relative_to(folder).as_posix()
    if safe_path(name) is None:
        raise _unusable(folder, f"holds {name[:120]!a}, a name that other systems do not take")
    role = classify(name)
    if role in (Role.OTHER, Role.MMPROJ):
        role = Role.FILE
    return Ingredient(role, stack.enter_context(open_source(path)), name)


def _read_safetensors(source: Source) -> safetensors.Safetensors:
    check_not_hollow(source)
    try:
        size = safetensors.header_bytes(source.head(safetensors.LENGTH_BYTES), source.size_bytes)
        return safetensors.read_header(source.head(size), source.size_bytes)
    except RunnerError as error:
        raise RunnerError(
            error.kind, f"{source.path.name}: {error.message}", hint=error.hint
        ) from error


def _model_type(folder: Path) -> str:
    """Return what the folder's ``config.json`` calls the architecture; empty when it does not."""
    path = folder / "config.json"
    if not path.is_file() or path.is_symlink():
        return ""
    with open_source(path) as source:
        raw = source.head(MAX_TEXT_BYTES + 1)
    try:
        name = parse_object(raw, limit_bytes=MAX_TEXT_BYTES, what="config.json").get("model_type")
    except RunnerError:
        return ""
    return name[:100] if isinstance(name, str) else ""


def _refuse(source: Source, problem: str, *, hint: str | None = None) -> RunnerError:
    return RunnerError(
        Kind.INVALID_MODEL,
        f"{source.path.name} {problem}",
        hint=hint or "give the model's own GGUF file",
    )


def _unusable(folder: Path, problem: str, *, hint: str | None = None) -> RunnerError:
    return RunnerError(
        Kind.USAGE, f"{folder} {problem}", hint=hint or "give the folder of a downloaded model"
    )
