"""Which files of a repository are the model that a user means. Pure.

A repository holds one model in many quantisations, each a file or a set of shards, in the top
folder or in folders of their own. Users name one by its label, ``Q4_K_M``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.gguf import parse_shard_name, render_size
from runner.registry.hub_reply import HubFile

# What is taken when nothing was asked for: four bits, then more, then fewer, then none.
DEFAULT_ORDER = (
    *("Q4_K_M", "Q4_K_L", "Q4_K_XL", "Q4_K_S", "Q4_K", "Q4", "IQ4_NL", "IQ4_XS", "Q4_0", "Q4_1"),
    *("MXFP4", "MXFP4_MOE", "NVFP4"),
    *("Q5_K_M", "Q5_K_L", "Q5_K_XL", "Q5_K_S", "Q5_K", "Q5_0", "Q5_1"),
    *("Q6_K", "Q6_K_L", "Q6_K_XL", "Q8_0", "Q8_K_XL"),
    *("Q3_K_L", "Q3_K_XL", "Q3_K_M", "IQ3_M", "Q3_K_S", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
    *("BF16", "F16", "F32"),
    *("Q2_K_L", "Q2_K_XL", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
)
PROJECTOR_ORDER = ("F16", "BF16", "Q8_0", "F32")
MAX_LISTED = 40  # variants in an error

_PIECE = r"_(?:[0-9]|K|XXS|XS|S|M|L|XL|XXL|NL|P|R[0-9])(?![A-Z0-9])"
_LABEL = re.compile(
    rf"(?<![A-Z0-9])(?:UD-)?(?:(?:I?Q|TQ)[0-9](?:{_PIECE})*|MXFP4(?:_MOE)?|NVFP4"
    r"|BF16|F16|F32|FP16|FP32)(?![A-Z0-9])",
    re.IGNORECASE,
)
_OTHER_WORDS = ("mmproj", "imatrix")  # in names of GGUF files that are no weights


@dataclass(frozen=True, slots=True)
class Variant:
    """One model of a repository: a file, or all shards of one, in order."""

    label: str | None  # as ``Q4_K_M``; None when its name does not say
    stem: str  # the file name without shard number and ending
    files: tuple[HubFile, ...]
    missing: tuple[int, ...] = ()  # shards, from 1, that the repository does not have

    @property
    def path(self) -> str:
        """Folder and stem."""
        folder = self.files[0].folder
        return f"{folder}/{self.stem}" if folder else self.stem

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def title(self) -> str:
        """What a user writes to get this one, with its size."""
        return f"{self.label or self.stem} ({render_size(self.size_bytes)})"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is taken, and the sentence that says so."""

    variant: Variant
    reason: str


def read_label(path: str) -> str | None:
    """Read the quantisation out of a file's path: the last one its name says, else its folders'."""
    for part in reversed(path.split("/")):
        labels: list[str] = _LABEL.findall(part)
        if labels:
            return labels[-1].upper().replace("FP16", "F16").replace("FP32", "F32")
    return None


def list_variants(files: Sequence[HubFile]) -> tuple[Variant, ...]:
    """Group the weights among the files into models, in the order of their paths."""
    groups: dict[tuple[str, str, int], dict[int, HubFile]] = defaultdict(dict)
    for file in files:
        name = file.base_name
        if not name.lower().endswith(".gguf") or any(word in name.lower() for word in _OTHER_WORDS):
            continue
        shard = parse_shard_name(name)
        if shard is None:
            groups[file.folder, name[: -len(".gguf")], 1][1] = file
        else:
            groups[file.folder, shard.stem, shard.count][shard.index] = file
    return tuple(
        Variant(
            label=read_label(f"{folder}/{stem}"),
            stem=stem,
            files=tuple(parts[index] for index in sorted(parts)),
            missing=tuple(index for index in range(1, count + 1) if index not in parts),
        )
        for (folder, stem, count), parts in sorted(groups.items())
    )


def choose_variant(variants: Sequence[Variant], selector: str | None, *, source: str) -> Choice:
    """Choose the model that a user means.

    Without a selector, the first that is there of :data:`DEFAULT_ORDER`. With one: the label, or
    else a word of the path, or else the whole file name; in any case of letters. ``source`` names
    the repository in errors. Raises RunnerError: MODEL_NOT_FOUND with the list of what there is;
    INVALID_MODEL where there are no GGUF files, or shards are missing.
    """
    if not variants:
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"{source} has no GGUF files",
            hint="only GGUF models can be run; look for its GGUF version: "
            f"runner search {source.rpartition('/')[2]}",
        )
    candidates = _matching(variants, selector) if selector else list(variants)
    if not candidates:
        raise _unmatched(variants, selector or "", source)
    best = min(candidates, key=_preference)
    if best.missing:
        numbers = ", ".join(map(str, best.missing[:MAX_LISTED]))
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"{source}: {best.title} is in {len(best.files) + len(best.missing)} parts, "
            f"and part {numbers} is missing",
            hint="choose another quantisation, or tell the repository's owner",
        )
    return Choice(best, _reason(best, candidates, len(variants), selector))


def choose_projector(files: Sequence[HubFile], weights: Variant) -> HubFile | None:
    """Choose the multimodal projector: beside the weights, else at the top; F16 before others."""
    folder = weights.files[0].folder
    found = [
        file
        for file in files
        if file.base_name.lower().endswith(".gguf")
        and "mmproj" in file.base_name.lower()
        and file.folder in (folder, "")
    ]

    def preference(file: HubFile) -> tuple[bool, int, str]:
        label = read_label(file.base_name)
        rank = PROJECTOR_ORDER.index(label) if label in PROJECTOR_ORDER else len(PROJECTOR_ORDER)
        return file.folder != folder, rank, file.path

    return min(found, key=preference, default=None)


def _matching(variants: Sequence[Variant], selector: str) -> list[Variant]:
    """Find what a selector names; the first of three rules that finds anything counts."""
    wanted = selector.upper().removesuffix(".GGUF")
    label = read_label(wanted) if _LABEL.fullmatch(wanted) else None
    word = re.compile(rf"(?<![A-Z0-9]){re.escape(wanted)}(?![A-Z0-9])")
    return (
        [variant for variant in variants if label and variant.label == label]
        or [variant for variant in variants if variant.stem.upper() == wanted]
        or [variant for variant in variants if word.search(variant.path.upper())]
    )


def _preference(variant: Variant) -> tuple[int, bool, int, str]:
    label = variant.label or ""
    plain = label.removeprefix("UD-")
    rank = DEFAULT_ORDER.index(plain) if plain in DEFAULT_ORDER else len(DEFAULT_ORDER)
    return rank, label != plain, variant.path.count("/"), variant.path


def _reason(best: Variant, candidates: Sequence[Variant], total: int, selector: str | None) -> str:
    said = f"taking {best.title}"
    alike = [other for other in candidates if other.label == best.label and other is not best]
    if alike:
        names = ", ".join(variant.stem for variant in alike[:3])
        return f"{said}: {best.stem}; {names} would also fit"
    if selector or total == 1:
        return said
    return f"{said}, the default of {total} quantisations"


def _unmatched(variants: Sequence[Variant], selector: str, source: str) -> RunnerError:
    titles = [variant.title for variant in sorted(variants, key=_preference)]
    more = f" and {len(titles) - MAX_LISTED} more" if len(titles) > MAX_LISTED else ""
    best = min(variants, key=_preference)
    return RunnerError(
        Kind.MODEL_NOT_FOUND,
        f"{source} has no {selector[:80]!a}; it has {', '.join(titles[:MAX_LISTED])}{more}",
        hint=f"write {source}:{best.label or best.stem}",
        details={"variants": [variant.label or variant.stem for variant in variants[:MAX_LISTED]]},
    )
