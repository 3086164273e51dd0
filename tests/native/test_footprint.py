"""Memory is resident where something was written, and only there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from native.builder.tiny_model import write_models
from runner.binding import Context, Library, Model

from .driver import PROMPT, Engine

MakeEngine = Callable[..., Engine]
STATM = Path("/proc/self/statm")  # proc(5): the second field is resident pages
pytestmark = [
    pytest.mark.native,
    pytest.mark.model,
    pytest.mark.skipif(not STATM.exists(), reason="pages are given back on Linux only"),
]
MIB = 1024 * 1024


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def large(**settings: object) -> dict[str, object]:
    return {"n_ctx": 16384, "n_batch": 512, "n_seq_max": 8, "n_threads": 1, **settings}


@pytest.mark.parametrize("flash", [True, False], ids=["flash", "plain"])
@pytest.mark.parametrize("unified", [True, False], ids=["unified", "streams"])
def test_a_new_context_takes_no_memory_for_cells_without_tokens(
    model: Model, unified: bool, flash: bool
) -> None:
    before = resident_bytes()
    with Context(model, large(kv_unified=unified, flash_attn=flash)) as context:
        grown = resident_bytes() - before
    assert context.info.memory_bytes["context"] > 350 * MIB
    assert grown < 40 * MIB


def test_memory_grows_with_the_tokens_and_is_given_back_when_all_are_forgotten(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(**large(kv_unified=False, flash_attn=True))
    tokens = engine.tokens("word " * 256)[:256]
    engine.complete(tokens, max_tokens=1)  # the compute buffers grow with their first use
    engine.context.clear()
    empty = resident_bytes()
    for seq in range(2):
        engine.complete(tokens, seq=seq, max_tokens=1)
    full = resident_bytes()
    assert 10 * MIB < full - empty < 16 * MIB  # 2 x 256 cells of 22.5 KiB: 11.25 MiB
    engine.context.clear()
    assert resident_bytes() - empty < 4 * MIB


@pytest.mark.parametrize("unified", [True, False], ids=["unified", "streams"])
def test_answers_are_the_same_in_memory_that_was_given_back(
    make_engine: MakeEngine, unified: bool
) -> None:
    engine = make_engine(kv_unified=unified)
    first = engine.complete(PROMPT, temperature=0)
    engine.complete("Something longer, that leaves its cells behind: " + PROMPT, seq=1)
    engine.context.clear()
    assert engine.complete(PROMPT, temperature=0).tokens == first.tokens


def test_contexts_that_were_closed_leave_nothing_behind(model: Model) -> None:
    def use(*, flash: bool) -> None:
        settings = {"n_ctx": 4096, "n_seq_max": 4, "n_threads": 1, "kv_unified": False}
        with Context(model, settings | {"flash_attn": flash}) as context:
            context.score(0, [1] * 16)

    for flash in (False, True):
        use(flash=flash)
    before = resident_bytes()
    for flash in (False, True) * 3:
        use(flash=flash)
    assert resident_bytes() - before < 4 * MIB


def test_weights_that_were_repacked_are_not_held_twice(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_models(path, tmp_path / "plain.gguf")
    library.drain_log()
    with Model(library, path):
        text = "".join(line["text"] + "\n" for line in library.drain_log())
        sizes_mib = dict(re.findall(r"(\S+) model buffer size = +([\d.]+) MiB", text))
        repacked = sum(float(size) for name, size in sizes_mib.items() if name != "CPU_Mapped")
        if not repacked:
            pytest.skip("this CPU computes from the file as it is")
        assert mapped_resident_bytes(path) < path.stat().st_size - 0.5 * repacked * MIB


def mapped_resident_bytes(path: Path) -> int:
    """Resident pages of the mappings of a file: proc(5), smaps."""
    _, *parts = re.split(r"^[0-9a-f]+-[0-9a-f]+ ", Path("/proc/self/smaps").read_text(), flags=re.M)
    mine = [part for part in parts if part.partition("\n")[0].endswith(str(path))]
    return sum(
        1024 * int(kib) for part in mine for kib in re.findall(r"^Rss: +(\d+) kB", part, re.M)
    )
