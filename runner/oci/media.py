"""Media types of model artifacts: Docker's, and CNCF ModelPack's where it differs."""

from __future__ import annotations

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

CONFIG_V01 = "application/vnd.docker.ai.model.config.v0.1+json"  # typed layers
CONFIG_V02 = "application/vnd.docker.ai.model.config.v0.2+json"  # a layer for each file
CONFIG_MODELPACK = "application/vnd.cncf.model.config.v1+json"
CONFIGS = (CONFIG_V01, CONFIG_V02, CONFIG_MODELPACK)

GGUF = "application/vnd.docker.ai.gguf.v3"
MMPROJ = "application/vnd.docker.ai.mmproj"  # multimodal projector, a GGUF file too
CHAT_TEMPLATE = "application/vnd.docker.ai.chat.template.jinja"
LICENSE = "application/vnd.docker.ai.license"

# Annotations
REF_NAME = "org.opencontainers.image.ref.name"  # of a descriptor in index.json: its tag
FILE_PATH = "org.cncf.model.filepath"  # of a layer: the file's name in the model's folder
