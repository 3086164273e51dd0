"""The places that are searched, each with its own idea of names, tags and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.registry.dockerhub import DockerHub
from runner.registry.huggingface import HuggingFace
from runner.registry.listing import Listed
from runner.transfer.quantization import choose_variant, list_variants, read_label
from runner.transfer.search import Offer

DEFAULT_TAG = "latest"


class DockerHubSource:
    """Models of the organisation ``ai``. A plain pull takes the tag ``latest``."""

    title = "Docker Hub"

    def __init__(self, docker_hub: DockerHub) -> None:
        self._docker_hub = docker_hub

    def find(self, term: str, *, limit: int) -> Sequence[Listed]:
        """List repositories."""
        return self._docker_hub.find_models(term, limit=limit)

    def pull_name(self, listed: Listed) -> str:
        """Return the name as it is."""
        return listed.name

    def survey(self, listed: Listed) -> Offer:
        """Read the tags: ``latest`` is the quantisation whose tag has the same digest."""
        tags = self._docker_hub.list_tags(listed.name)
        labels = {tag.name: read_label(tag.name) for tag in tags}
        default = next((tag for tag in tags if tag.name == DEFAULT_TAG), None)
        same = [
            labels[tag.name] or "" for tag in tags if default and tag.digest == default.digest != ""
        ]
        return Offer(
            quantization=next(filter(None, same), ""),
            size_bytes=default.size_bytes if default else None,
            quantizations=_distinct(labels.values()),
        )


class HuggingFaceSource:
    """Repositories with GGUF files. A plain pull takes what :func:`choose_variant` does."""

    title = "HuggingFace"

    def __init__(self, hub: HuggingFace) -> None:
        self._hub = hub

    def find(self, term: str, *, limit: int) -> Sequence[Listed]:
        """List repositories."""
        return self._hub.find_models(term, limit=limit)

    def pull_name(self, listed: Listed) -> str:
        """Return the name with the hub's host before it."""
        return f"hf.co/{listed.name}"

    def survey(self, listed: Listed) -> Offer:
        """Read the list of files."""
        variants = list_variants(self._hub.list_files(listed.name))
        default = choose_variant(variants, None, source=self.pull_name(listed)).variant
        return Offer(
            quantization=default.label or "",
            size_bytes=default.size_bytes,
            quantizations=_distinct(variant.label for variant in variants),
        )


def _distinct(labels: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({label for label in labels if label}))
