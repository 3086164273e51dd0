"""Images and sounds on the real worker, with projectors of random weights."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.wire.messages import (
    Begun,
    ChatPrompt,
    Ended,
    EngineWishes,
    Event,
    Failed,
    Ready,
    Sampling,
    Submit,
)
from tests.process.worker_client import WorkerClient, chat, model_path
from tests.support import state_models
from tests.support.projectors import (
    ROWS,
    SOUND_ROWS,
    png,
    wav,
    write_grid_projector,
    write_projectors,
)

pytestmark = [pytest.mark.native, pytest.mark.model]

WISHES = EngineWishes(context_size=2048, parallel=4, threads=1)
PARAM = "messages[0].content[0].image_url.url"
WIDTH = 576  # of SmolLM2's rows


@pytest.fixture(scope="module")
def projectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_projectors(tmp_path_factory.mktemp("mmproj"), width=WIDTH)


@pytest.fixture(scope="module", params=["plain", "whole"])
def worker(projectors: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[WorkerClient]:
    with WorkerClient() as worker:
        path = str(projectors[request.param])
        worker.load(model_path(), wishes=WISHES, projector_path=path)
        ready = worker.wait_for(Ready)
        assert (ready.model.vision, ready.model.audio) == (True, False)
        yield worker


def part(data: bytes, kind: str = "image") -> dict[str, Any]:
    return {"type": kind, "data": base64.b64encode(data).decode(), "param": PARAM}


def ask(id: int, *parts: dict[str, Any], question: str = "What is it?", **more: Any) -> Submit:
    content = [*parts, {"type": "text", "text": question}]
    messages = json.dumps([{"role": "user", "content": content}])
    settings = {
        "sampling": Sampling(temperature=0.0, top_logprobs=0, ignore_eos=True),
        "max_tokens": 12,
    }
    return Submit(id=id, prompt=ChatPrompt(messages_json=messages), **settings | more)


def answer(worker: WorkerClient, submit: Submit) -> list[Event]:
    """All that comes of a request."""
    worker.send(submit)
    worker.wait_for_last(submit.id)
    return worker.log[submit.id]


def tell(events: list[Event]) -> tuple[Begun, list[float]]:
    """How an answer began, and the log-probabilities of its tokens."""
    begun, last = events[0], events[-1]
    assert isinstance(begun, Begun) and isinstance(last, Ended), last
    pieces = [one for event in events for one in getattr(event, "logprobs", ())]
    return begun, [piece.logprob for piece in pieces]


def test_an_image_is_seen_and_another_one_is_not_the_same(worker: WorkerClient) -> None:
    first = tell(answer(worker, ask(1, part(png(1)), cache_prompt=False)))
    again = tell(answer(worker, ask(2, part(png(1)), cache_prompt=False)))
    other = tell(answer(worker, ask(3, part(png(2)), cache_prompt=False)))
    assert again[1] == first[1]
    assert other[0].prompt_tokens == first[0].prompt_tokens
    assert other[1] != first[1]


def test_a_conversation_goes_on_behind_its_image(worker: WorkerClient) -> None:
    cold, said = tell(answer(worker, ask(11, part(png(3)))))
    warm, same = tell(answer(worker, ask(12, part(png(3)))))
    assert warm.prompt_tokens == cold.prompt_tokens
    assert warm.cached_tokens == cold.prompt_tokens - 1
    assert same == pytest.approx(said, abs=0.05)
    other, _ = tell(answer(worker, ask(13, part(png(4)))))
    # The beginning of the prompt, and nothing of the image.
    assert 0 < other.cached_tokens < cold.prompt_tokens - ROWS


def test_two_images_are_two(worker: WorkerClient) -> None:
    one, _ = tell(answer(worker, ask(21, part(png(5)))))
    two, said = tell(answer(worker, ask(22, part(png(5)), part(png(6)), cache_prompt=False)))
    assert two.prompt_tokens >= one.prompt_tokens + ROWS
    swapped, other = tell(answer(worker, ask(23, part(png(6)), part(png(5)), cache_prompt=False)))
    assert swapped.prompt_tokens == two.prompt_tokens
    assert other != said


def test_streams_go_on_beside_images(worker: WorkerClient) -> None:
    answer(worker, chat(30, "Count to a hundred.", max_tokens=60))
    worker.send(chat(31, "Count to a hundred.", max_tokens=60))
    for id in range(32, 36):
        worker.send(ask(id, part(png(id))))
    assert all(isinstance(last, Ended) for last in worker.wait_for_last(*range(31, 36)))
    assert worker.text(31)[:40] == worker.text(30)[:40]


def test_b14_what_is_no_image_is_the_request_s_fault(worker: WorkerClient) -> None:
    for id, data in ((41, b"\x89PNG\r\n\x1a\n"), (42, png(1)[:90]), (43, b"GIF89a")):
        [failed] = answer(worker, ask(id, part(data)))
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.param) == ("invalid_request", PARAM)
    assert isinstance(answer(worker, chat(44, "Hi", max_tokens=2))[-1], Ended)


def test_a_marker_in_a_text_is_a_text(worker: WorkerClient) -> None:
    plain, _ = tell(answer(worker, ask(51, part(png(1)), question="<__media__> ?")))
    assert plain.prompt_tokens > 0


def test_sounds_are_heard(projectors: dict[str, Path]) -> None:
    with WorkerClient() as worker:
        worker.load(model_path(), wishes=WISHES, projector_path=str(projectors["ear"]))
        assert worker.wait_for(Ready).model.audio
        one, said = tell(answer(worker, ask(1, part(wav(1), "audio"))))
        assert one.prompt_tokens > SOUND_ROWS
        _, other = tell(answer(worker, ask(2, part(wav(2), "audio"), cache_prompt=False)))
        assert other != said
        [failed] = answer(worker, ask(3, part(png(1))))
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.param) == ("model_not_supported", PARAM)


def test_pictures_that_are_grids_share_prefixes(tmp_path: Path) -> None:
    projector = write_grid_projector(tmp_path, width=state_models.WIDTH)
    with WorkerClient() as worker:
        worker.load(
            state_models.write_grid_model(tmp_path), wishes=WISHES, projector_path=str(projector)
        )
        assert worker.wait_for(Ready).model.vision
        wide, high = part(png(1, width=140, height=84)), part(png(2, width=56, height=196))
        cold, said = tell(answer(worker, ask(1, wide, high)))
        warm, same = tell(answer(worker, ask(2, wide, high)))
        assert warm.cached_tokens == cold.prompt_tokens - 1
        assert same == pytest.approx(said, abs=0.05)
        # From behind the first picture, which another asks about in other words.
        shared, other = tell(answer(worker, ask(3, wide, question="Which?")))
        assert 15 < shared.cached_tokens < shared.prompt_tokens
        _, alone = tell(answer(worker, ask(4, wide, question="Which?", cache_prompt=False)))
        assert other == pytest.approx(alone, abs=0.05)
        for id in range(10, 16):  # beside one another
            worker.send(ask(id, wide if id % 2 else high, question="Which?"))
        assert all(isinstance(last, Ended) for last in worker.wait_for_last(*range(10, 16)))
        assert tell(worker.log[11])[1] == pytest.approx(alone, abs=0.05)


@pytest.mark.parametrize("is_there", [True, False])
def test_c9_without_a_projector_that_fits_text_is_served_and_images_are_refused(
    tmp_path: Path, is_there: bool
) -> None:
    path = write_projectors(tmp_path, width=64)["plain"]
    with WorkerClient() as worker:
        worker.load(model_path(), wishes=WISHES, projector_path=str(path) if is_there else None)
        assert not worker.wait_for(Ready).model.vision
        assert isinstance(answer(worker, chat(1, "Hi", max_tokens=2))[-1], Ended)
        [failed] = answer(worker, ask(2, part(png(1))))
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.param) == ("model_not_supported", PARAM)
        assert ("mismatch" in failed.message) == is_there
