"""Media types of model artifacts: Docker's, CNCF ModelPack's, Ollama's, and the one of our own."""

from __future__ import annotations

INDEX = "application/vnd.oci.image.index.v1+json"
INDEX_DOCKER = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (INDEX, INDEX_DOCKER)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MANIFEST_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"  # Ollama's registry
MANIFESTS = (MANIFEST, MANIFEST_DOCKER)
ARTIFACT_MODELPACK = "application/vnd.cncf.model.manifest.v1+json"  # of a manifest's artifactType

CONFIG_V01 = "application/vnd.docker.ai.model.config.v0.1+json"  # typed layers
CONFIG_V02 = "application/vnd.docker.ai.model.config.v0.2+json"  # a layer for each file
CONFIG_MODELPACK = "application/vnd.cncf.model.config.v1+json"
CONFIGS = (CONFIG_V01, CONFIG_V02, CONFIG_MODELPACK)
# Ollama's models have the config type of container images: only their layers tell them apart.
CONFIG_CONTAINER = "application/vnd.docker.container.image.v1+json"

GGUF = "application/vnd.docker.ai.gguf.v3"
SAFETENSORS = "application/vnd.docker.ai.safetensors"
DDUF = "application/vnd.docker.ai.dduf"
MMPROJ = "application/vnd.docker.ai.mmproj"  # multimodal projector, a GGUF file too
CHAT_TEMPLATE = "application/vnd.docker.ai.chat.template.jinja"
LICENSE = "application/vnd.docker.ai.license"
MODEL_FILE = "application/vnd.docker.ai.model.file"  # tokenizers, configs of other engines

# Ours, since nobody else has one: a LoRA adapter for the weights beside it, one GGUF file whose
# ``general.type`` is ``adapter``. Several are applied in the order of their layers.
LORA = "application/vnd.runner.lora.v1+gguf"

MODELPACK = "application/vnd.cncf.model."  # how its types begin
# It tells weights apart by file name; `.tar`, `.tar+gzip` and `.tar+zstd` exist of each.
WEIGHT_MODELPACK = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_GGUF_MODELPACK = "application/vnd.cncf.model.weight.v1.gguf"
WEIGHT_SAFETENSORS_MODELPACK = "application/vnd.cncf.model.weight.v1.safetensors"
WEIGHTS_MODELPACK = f"{MODELPACK}weight.v1."  # how the types of weights begin
FILE_MODELPACK = "application/vnd.cncf.model.weight.config.v1.raw"
DOC_MODELPACK = "application/vnd.cncf.model.doc.v1.raw"

OLLAMA = "application/vnd.ollama.image."  # how its types begin
OLLAMA_MODEL = "application/vnd.ollama.image.model"  # GGUF
OLLAMA_ADAPTER = "application/vnd.ollama.image.adapter"
OLLAMA_PROJECTOR = "application/vnd.ollama.image.projector"
OLLAMA_LICENSE = "application/vnd.ollama.image.license"

# Annotations
REF_NAME = "org.opencontainers.image.ref.name"  # of a descriptor in index.json: its tag
FILE_PATH = "org.cncf.model.filepath"  # of a layer: the file's name in the model's folder
REFERENCE_TYPE = "vnd.docker.reference.type"  # of an attestation among the manifests of an index
