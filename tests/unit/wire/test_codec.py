from __future__ import annotations

import math

import pytest

from runner.wire import FrameError, encode, from_worker_decoder, is_last, to_worker_decoder
from runner.wire.messages import (
    WIRE_VERSION,
    Answered,
    Ask,
    Beat,
    Begun,
    CallDelta,
    Cancel,
    ChatPrompt,
    Detokenize,
    DeviceMemory,
    Ended,
    EngineWishes,
    Event,
    Events,
    Failed,
    FromWorker,
    InfillPrompt,
    Load,
    LoadFailed,
    LoadProgress,
    Measured,
    Piece,
    Rates,
    Sampling,
    Snippet,
    Stop,
    Submit,
    TextPrompt,
    Timings,
    Tokenize,
    TokenLogprob,
    TokenPrompt,
    ToWorker,
    Tune,
    Tuned,
    TunedSettings,
)

ENDED = Ended(
    id=3,
    reason="stop",
    prompt_tokens=5,
    cached_tokens=2,
    completion_tokens=7,
    timings=Timings(cache_n=2, prompt_n=3, prompt_ms=1.5, predicted_n=7, predicted_ms=9.25),
    stopping_word="\n\n",
)
TUNED = TunedSettings(
    flash_attention=False, kv_layout="streams", ubatch_size=512, threads=2, threads_batch=4
)
TO_WORKER: list[ToWorker] = [
    Load(version=WIRE_VERSION, model_path="/m.gguf", library_path=None, wishes=EngineWishes()),
    Submit(
        id=1,
        prompt=ChatPrompt(messages_json='[{"role":"user","content":"Grüße 🦙"}]'),
        sampling=Sampling(temperature=0.0, logit_bias=((7, -math.inf), (8, 1.5))),
        max_tokens=0,
        stop=("\0", "</s>"),
    ),
    Submit(id=2, prompt=TextPrompt(text=""), sampling=Sampling()),
    Submit(
        id=3,
        prompt=ChatPrompt(
            messages_json="[]",
            tools_json='[{"type":"function"}]',
            tool_choice="required",
            tool_name="weather",
            parallel_tool_calls=False,
            enable_thinking=False,
            reasoning_format="none",
        ),
        sampling=Sampling(),
    ),
    Submit(id=3, prompt=TokenPrompt(tokens=(0, 7)), sampling=Sampling()),
    Submit(
        id=4,
        prompt=InfillPrompt(prefix="a", suffix="b", extra=(Snippet(filename="c", text="d"),)),
        sampling=Sampling(),
    ),
    Ask(id=5, question=Tokenize(text="a", add_special=False, parse_special=True)),
    Ask(id=6, question=Detokenize(tokens=(1,))),
    Ask(id=7, question=TextPrompt(text="b")),
    Cancel(id=2**40),
    Load(
        version=WIRE_VERSION,
        model_path="/m.gguf",
        library_path=None,
        wishes=EngineWishes(threads_batch=3, draft_model_path="/d.gguf"),
        tuned=TUNED,
        tune_after_s=5.0,
    ),
    Tune(),
    Tune(stop=True),
    Stop(grace_s=1.5),
]
FROM_WORKER: list[FromWorker] = [
    Measured(
        settings=TUNED,
        rates=Rates(one=1.0, one_deep=0.5, many=4.0, prompt=9.0),
        rows=8,
        depth=600,
    ),
    Tuned(settings=TUNED, gain=1.25, duration_s=8.0, is_disturbed=True),
    Tuned(problem="no memory"),
    LoadProgress(fraction=0.5),
    LoadFailed(kind="invalid_model", message="no tensors", hint="get another"),
    Events(
        events=(
            Begun(3, 5, 2),
            Piece(3, "Llamas", 2, (TokenLogprob(9, b"\xf0\x9f", -0.5, ((9, b"\xf0\x9f", -0.5),)),)),
            Piece(3, "", 4, reasoning="Hm", calls=(CallDelta(0, "{", "call_x", "weather"),)),
            ENDED,
            Failed(4, "context_length_exceeded", "too long", details={"prompt_tokens": 9}),
            Answered(5, "hé", (1, 2), (b"h", b"\xc3\xa9")),
        )
    ),
    Beat(
        step_running_s=0.25,
        running=1,
        waiting=0,
        cells_used=10,
        cells_total=64,
        prompt_tokens=5,
        cached_tokens=2,
        completion_tokens=7,
        steps=8,
        resident_bytes=1 << 33,
        device=DeviceMemory(free_bytes=1 << 34, at_s=12.5),
    ),
]


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda message: type(message).__name__)
def test_a_message_to_the_worker_arrives_as_it_was_sent(message: ToWorker) -> None:
    assert to_worker_decoder().feed(encode(message)) == [message]


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda message: type(message).__name__)
def test_a_message_from_the_worker_arrives_as_it_was_sent(message: FromWorker) -> None:
    assert from_worker_decoder().feed(encode(message)) == [message]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\x05\0\0\0llama", "not a message of ours"),
        (encode(Stop(grace_s=1.0)), "not a message of ours"),  # of the other direction
        (b"\xff\xff\xff\xff", "a length of 4294967295"),
    ],
    ids=["text", "other direction", "length"],
)
def test_what_is_no_message_breaks_the_decoder_for_good(frame: bytes, words: str) -> None:
    decoder = from_worker_decoder()
    for data in (frame, encode(LoadProgress(fraction=0.5))):
        with pytest.raises(FrameError, match=words):
            decoder.feed(data)


def test_a_load_of_another_wire_version_says_to_restart_the_daemon() -> None:
    load = Load(version=99, model_path="/m", library_path=None, wishes=EngineWishes())
    with pytest.raises(FrameError, match=r"version 99, this worker 1: restart the daemon"):
        to_worker_decoder().feed(encode(load))


def test_an_end_inside_a_frame_is_told() -> None:
    decoder = from_worker_decoder()
    decoder.feed(encode(LoadProgress(fraction=0.5))[:-1])
    with pytest.raises(FrameError, match="ended"):
        decoder.finish()


def test_an_end_between_frames_is_well() -> None:
    decoder = from_worker_decoder()
    decoder.feed(encode(LoadProgress(fraction=0.5)))
    decoder.finish()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Begun(1, 1, 0), False),
        (Piece(1, "", 0), False),
        (ENDED, True),
        (Failed(1, "", ""), True),
        (Answered(1, "", ()), True),
    ],
    ids=["begun", "piece", "ended", "failed", "answered"],
)
def test_which_events_are_last(event: Event, expected: bool) -> None:
    assert is_last(event) is expected
