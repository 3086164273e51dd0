"""Where a model's bytes lie: in its blocks, and beside them."""

from __future__ import annotations

from dataclasses import dataclass

from runner.gguf.values import Gguf


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of tensors as llama.cpp's ``n_gpu_layers`` counts them: the output, then blocks.

    The input's embeddings are in neither: they stay in the machine's memory.
    """

    blocks: tuple[int, ...] = ()  # of each block, in order
    output_bytes: int = 0

    @property
    def layers(self) -> int:
        """Count the layers that a GPU can have."""
        return len(self.blocks) + 1

    def blocks_among(self, layers: int) -> int:
        """Count the blocks among the last ``layers``; negative: all layers."""
        return len(self.blocks) if layers < 0 else min(max(0, layers - 1), len(self.blocks))

    def of_last(self, layers: int) -> int:
        """Count the bytes of the last ``layers``, the output first; negative: of all."""
        if layers == 0:
            return 0
        first = len(self.blocks) - self.blocks_among(layers)
        return self.output_bytes + sum(self.blocks[first:])


def weigh(gguf: Gguf, *rest: Gguf) -> Weights:
    """Add up a model's tensors by where they belong.

    A model without an output of its own has its embeddings there once more.
    """
    count = gguf.integer(f"{gguf.architecture}.block_count") or 0
    blocks = [0] * count
    output_bytes = embeddings_bytes = 0
    has_output = False
    for tensor in (tensor for part in (gguf, *rest) for tensor in part.tensors):
        block = _block(tensor.name)
        if block is not None and block < count:
            blocks[block] += tensor.size_bytes
        elif tensor.name.startswith("output"):
            output_bytes += tensor.size_bytes
            has_output = has_output or tensor.name == "output.weight"
        elif tensor.name == "token_embd.weight":
            embeddings_bytes = tensor.size_bytes
    return Weights(tuple(blocks), output_bytes + (0 if has_output else embeddings_bytes))


def _block(name: str) -> int | None:
    prefix, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return int(number) if prefix == "blk" and number.isascii() and number.isdecimal() else None
