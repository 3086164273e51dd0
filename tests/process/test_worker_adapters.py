"""LoRA adapters in a whole worker: chosen by each request, side by side, and never mixed up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.wire.messages import (
    AdapterFacts,
    AdapterScale,
    Begun,
    Ended,
    EngineWishes,
    Failed,
    LoadFailed,
    Ready,
)
from tests.process.worker_client import WorkerClient, model_path, text
from tests.support.adapters import adapter, write_adapters
from tests.support.gguf_maker import STR

pytestmark = [pytest.mark.native, pytest.mark.model]

WISHES = EngineWishes(context_size=512, parallel=4, threads=1, speculation=False)
PROMPT = "Once upon a time there was a king who lived in a castle by the sea. One day the king"
ASKED: Any = {  # what is asked, by what it should be told apart from
    "usual": None,
    "none": (),
    "law": (AdapterScale("Law", 1.0),),
    "half": (AdapterScale(0, 0.5),),
    "second": (AdapterScale(1, 1.0),),
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    folder = tmp_path_factory.mktemp("bundle")
    paths = write_adapters(folder, adapter(1, name="Law"), adapter(4, strength=0.1))
    with WorkerClient() as client:
        client.load(model_path(), WISHES, adapter_paths=tuple(map(str, paths)))
        ready = client.wait_for(Ready)
        assert ready.model.adapters == (AdapterFacts(name="Law"), AdapterFacts(name="adapter-2"))
        yield client


@pytest.fixture(scope="module")
def alone(worker: WorkerClient) -> dict[str, str]:
    """What each set of adapters says when nobody else runs."""
    texts: dict[str, str] = {}
    for id, (name, wanted) in enumerate(ASKED.items(), start=100):
        worker.send(text(id, PROMPT, max_tokens=16, adapters=wanted, cache_prompt=False))
        worker.wait_for_last(id)
        texts[name] = worker.text(id)
    return texts


def test_each_set_of_adapters_says_something_else(alone: dict[str, str]) -> None:
    assert len(set(alone.values())) == len(ASKED)


def test_all_scales_of_one_are_what_is_packaged(
    worker: WorkerClient, alone: dict[str, str]
) -> None:
    both = (AdapterScale(1, 1.0), AdapterScale(0, 1.0))
    worker.send(text(1, PROMPT, max_tokens=16, adapters=both))
    worker.wait_for_last(1)
    assert worker.text(1) == alone["usual"]


def test_prefixes_serve_their_own_adapters_only(
    worker: WorkerClient, alone: dict[str, str]
) -> None:
    cached: list[int] = []
    for id, name in enumerate(["law", "none", "law", "none", "half"], start=10):
        worker.send(text(id, PROMPT, max_tokens=16, adapters=ASKED[name]))
        [last] = worker.wait_for_last(id)
        assert isinstance(last, Ended)
        cached.append(last.cached_tokens)
        assert worker.text(id) == alone[name]
    assert cached[0] == cached[1] == cached[4] == 0
    assert min(cached[2:4]) > 10


def test_requests_with_different_adapters_run_side_by_side(worker: WorkerClient) -> None:
    """Each is answered as it is alone, whatever the others' order."""
    names = [name for name in ASKED if name != "usual"]
    for id, name in enumerate(names, start=20):
        worker.send(text(id, PROMPT, max_tokens=64, adapters=ASKED[name], cache_prompt=False))
    ids = range(20, 20 + len(names))
    lasts = worker.wait_for_last(*ids)
    assert all(isinstance(last, Ended) for last in lasts)
    # One row a step for each set, as alone: no other rounding can come in.
    for id, name in zip(ids, names, strict=True):
        worker.send(text(id + 20, PROMPT, max_tokens=64, adapters=ASKED[name], cache_prompt=False))
        worker.wait_for_last(id + 20)
        assert worker.text(id) == worker.text(id + 20)
    began = [next(e for e in worker.log[id] if isinstance(e, Begun)) for id in ids]
    assert len(began) == len(names)


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ((AdapterScale(2, 1.0),), "lora[0].id"),
        ((AdapterScale("law", 1.0),), "lora[0].name"),  # names are taken as they are
        ((AdapterScale(0, 1.0), AdapterScale("Law", 1.0)), "lora[1].name"),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    worker: WorkerClient, wanted: tuple[AdapterScale, ...], param: str
) -> None:
    id = 60 + len(param) + len(wanted)
    worker.send(text(id, PROMPT, adapters=wanted))
    [last] = worker.wait_for_last(id)
    assert isinstance(last, Failed)
    assert (last.kind, last.param) == ("invalid_request", param)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGUF", "adapter-1.gguf"),
        (adapter(general__architecture=(STR, "gemma3")), "general.architecture"),
        (adapter()[:-2000], "past the file's end"),
    ],
)
def test_a_bad_adapter_stops_the_load_with_its_cause(
    tmp_path: Path, content: bytes, words: str
) -> None:
    [path] = write_adapters(tmp_path, content)
    with WorkerClient() as worker:
        worker.load(model_path(), WISHES, adapter_paths=(str(path),))
        failed = worker.wait_for(LoadFailed)
        assert failed.kind == "invalid_model"
        assert words in failed.message
