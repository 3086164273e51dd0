"""What a model is, out of its header: the facts that lists, ``inspect`` and the engine use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.gguf.memory import Recurrence, find_recurrence
from runner.gguf.types import FILE_TYPE_GUESSED, FILE_TYPES, ValueType
from runner.gguf.values import Array, Field, Gguf, Split
from runner.gguf.weights import Weights, weigh
from runner.gguf.windows import Window, find_window

MAX_SHOWN_ELEMENTS = 50  # longer arrays are left out of ``kv``, as Docker Model Runner does
MAX_SHOWN_BYTES = 1024 * 1024  # of ``kv`` together, so that a model's config stays small


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's facts. None: the file does not say, or the architecture has no such thing."""

    architecture: str
    name: str | None
    parameters: int  # elements of all tensors
    size_bytes: int  # of the model's files
    quantization: str  # as ``Q4_K_M``
    context_length: int | None  # tokens the model was trained for
    block_count: int | None
    embedding_length: int | None
    feed_forward_length: int | None
    head_count: int | tuple[int, ...] | None  # a tuple has one number for each block
    head_count_kv: int | tuple[int, ...] | None  # defaults to head_count
    key_length: int | None  # elements of one head's key
    value_length: int | None
    window: Window
    weights: Weights
    recurrence: Recurrence
    pooling_type: int | None  # llama_pooling_type; not None and not 0: an embedding model
    vocabulary: int | None  # tokens
    has_chat_template: bool
    split: Split | None
    kv: Mapping[str, str]  # the header's fields as text, in the file's order

    @property
    def parameters_text(self) -> str:
        """``parameters`` as Docker Model Runner writes it: ``134.52M``."""
        return render_parameters(self.parameters)

    @property
    def size_text(self) -> str:
        """``size_bytes`` as Docker Model Runner writes it: ``93.81MiB``."""
        return render_size(self.size_bytes)


def describe(gguf: Gguf, *rest: Gguf) -> ModelMetadata:
    """Collect the facts of a model. ``rest`` are the further shards of a sharded one.

    Never raises on what :func:`read_header` returned.
    """
    parts = (gguf, *rest)
    architecture = gguf.architecture or "unknown"
    embedding = gguf.integer(f"{architecture}.embedding_length")
    heads = _per_block(gguf, f"{architecture}.attention.head_count")
    heads_kv = _per_block(gguf, f"{architecture}.attention.head_count_kv")
    head_length = _head_length(embedding, heads)
    key_length = gguf.integer(f"{architecture}.attention.key_length")
    value_length = gguf.integer(f"{architecture}.attention.value_length")
    vocabulary = gguf.array("tokenizer.ggml.tokens")
    return ModelMetadata(
        architecture=architecture,
        name=gguf.text("general.name"),
        parameters=sum(tensor.elements for part in parts for tensor in part.tensors),
        size_bytes=sum(part.size_bytes for part in parts),
        quantization=_quantization(parts),
        context_length=gguf.integer(f"{architecture}.context_length"),
        block_count=gguf.integer(f"{architecture}.block_count"),
        embedding_length=embedding,
        feed_forward_length=gguf.integer(f"{architecture}.feed_forward_length"),
        head_count=heads,
        head_count_kv=heads if heads_kv is None else heads_kv,
        key_length=head_length if key_length is None else key_length,
        value_length=head_length if value_length is None else value_length,
        window=find_window(gguf),
        weights=weigh(gguf, *rest),
        recurrence=find_recurrence(gguf, *rest),
        pooling_type=gguf.integer(f"{architecture}.pooling_type"),
        vocabulary=vocabulary.count if vocabulary else None,
        has_chat_template=any(
            key == "tokenizer.chat_template" or key.startswith("tokenizer.chat_template.")
            for key in gguf.fields
        ),
        split=gguf.split,
        kv=dict(_shown(gguf.fields)),
    )


def render_parameters(count: int) -> str:
    """Write a number of parameters: two decimals and K, M, B or T, no blank."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.2f}{name}"
    return str(count)


def render_size(size_bytes: int) -> str:
    """Write a size: two decimals and a binary unit, no blank."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.2f}{name}"
    return f"{size_bytes}B"


def _per_block(gguf: Gguf, key: str) -> int | tuple[int, ...] | None:
    array = gguf.array(key)
    if array is None:
        return gguf.integer(key)
    return tuple(int(number) for number in array.numbers())


def _head_length(embedding: int | None, heads: int | tuple[int, ...] | None) -> int | None:
    """Return llama.cpp's default length of a head: the embedding shared by the first block's."""
    first = heads[0] if isinstance(heads, tuple) else heads
    return embedding // first if embedding and first else None


def _quantization(parts: tuple[Gguf, ...]) -> str:
    """Name the file type; without one, the tensor type that most of the bytes have."""
    file_type = parts[0].integer("general.file_type")
    if file_type is not None and (name := FILE_TYPES.get(file_type & ~FILE_TYPE_GUESSED)):
        return name
    sizes: Counter[str] = Counter()
    for part in parts:
        for tensor in part.tensors:
            sizes[tensor.type_name] += tensor.size_bytes
    return sizes.most_common(1)[0][0] if sizes else "unknown"


def _shown(fields: Mapping[str, Field]) -> Iterator[tuple[str, str]]:
    """Yield fields as text in Docker Model Runner's forms, as far as the room goes."""
    room = MAX_SHOWN_BYTES
    for key, field in fields.items():
        text = _text(field)
        if text is None or (size := len(key.encode()) + len(text.encode())) > room:
            continue
        room -= size
        yield key, text


def _text(field: Field) -> str | None:
    value = field.value
    if not isinstance(value, Array):
        return _scalar_text(value)
    if value.count > MAX_SHOWN_ELEMENTS:
        return None
    if value.type is ValueType.STR:
        return ", ".join(element.decode("utf-8", "replace") for element in value.strings())
    return ", ".join(_scalar_text(element) for element in value.numbers())


def _scalar_text(value: int | float | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, float) else str(value)
