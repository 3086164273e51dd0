"""How much of a model goes to the GPU: all, or as many layers as fit beside their cells. Pure.

llama.cpp counts layers from the end: the first of ``gpu_layers`` is the output, then the last
block, the one before it, and so on. What is left computes on the CPU, its cells beside it.
"""

from __future__ import annotations

from runner.gguf import ModelMetadata
from runner.wire.messages import EngineWishes
from runner.worker.footprint import need, on_device, settings_for
from runner.worker.settings import Machine

ALL = -1
MARGIN_BYTES = 1024**3  # of each GPU, for its driver and others: as llama.cpp's own fit leaves


def gpu_layers(
    metadata: ModelMetadata, wishes: EngineWishes, machine: Machine, *, companions_bytes: int = 0
) -> int:
    """Choose how many layers go to the GPU: :data:`ALL`, or what fits into its free memory.

    ``companions_bytes``: of what is loaded beside the model and belongs on the GPU as a whole.
    Layers give way, never what was wished. Raises RunnerError(INVALID_REQUEST) for wishes that no
    context can have together.
    """
    if wishes.gpu_layers is not None or machine.device_free_bytes is None:
        return ALL if wishes.gpu_layers is None else wishes.gpu_layers
    takes = need(settings_for(metadata, wishes, machine), metadata)
    room = machine.device_free_bytes - machine.devices * MARGIN_BYTES - companions_bytes
    weights = metadata.weights
    for layers in range(weights.layers, 0, -1):
        if on_device(takes, weights, layers) <= room:
            return ALL if layers == weights.layers else layers
    return 0
