"""Which files of a repository a pull brings, and what each becomes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.registry.hub_reply import HubFile
from runner.transfer.quantization import choose_projector, choose_variant, list_variants

MAX_TEXT_BYTES = 1024 * 1024  # of a licence or a chat template
MAX_LICENSES = 8

_LICENSE_STEMS = ("license", "licence", "unlicense", "copying", "notice")
_TEXT_ENDINGS = ("", "txt", "md")
_TEMPLATE_NAME = "chat_template.jinja"  # what Transformers and the hub's own tools write


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of a model."""

    reason: str  # a sentence that says what was chosen
    weights: tuple[HubFile, ...]  # all shards, in order
    projector: HubFile | None
    chat_template: HubFile | None  # Jinja
    licenses: tuple[HubFile, ...]

    @property
    def large(self) -> tuple[HubFile, ...]:
        """Weights and projector."""
        return (*self.weights, *([self.projector] if self.projector else []))


def choose_files(files: Sequence[HubFile], selector: str | None, *, source: str) -> HubFiles:
    """Choose a model and what belongs to it; raises RunnerError as :func:`choose_variant`.

    Licences are those of the top folder. The chat template is the one beside the weights, or at
    the top; a ``tokenizer_config.json`` is none.
    """
    choice = choose_variant(list_variants(files), selector, source=source)
    folder = choice.variant.files[0].folder
    texts = [file for file in files if 0 < file.size_bytes <= MAX_TEXT_BYTES]
    templates = {
        file.folder: file
        for file in texts
        if file.base_name == _TEMPLATE_NAME and file.folder in (folder, "")
    }
    licenses = [file for file in texts if not file.folder and _is_license(file.base_name)]
    return HubFiles(
        reason=choice.reason,
        weights=choice.variant.files,
        projector=choose_projector(files, choice.variant),
        chat_template=templates.get(folder) or templates.get(""),
        licenses=tuple(sorted(licenses, key=lambda file: file.path)[:MAX_LICENSES]),
    )


def _is_license(name: str) -> bool:
    stem, _, ending = name.lower().partition(".")
    words = stem.replace("_", "-").split("-")
    return words[0] in _LICENSE_STEMS and ending in _TEXT_ENDINGS
