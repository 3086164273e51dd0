"""A worker measures when asked, lets go for a request, and uses what was measured before."""

from __future__ import annotations

from msgspec.structs import replace

from runner.wire.messages import (
    WIRE_VERSION,
    Ended,
    EngineWishes,
    Load,
    Measured,
    Ready,
    Sampling,
    Tune,
    Tuned,
    TunedSettings,
)
from tests.process.worker_client import WorkerClient, model_path, text

# Two candidates that take a moment: flash attention is all that is open.
ONLY_FLASH = EngineWishes(
    context_size=64, parallel=2, threads=1, kv_layout="streams", ubatch_size=128
)
EVERYTHING = replace(ONLY_FLASH, kv_layout=None, ubatch_size=None, threads=None)
TUNED = TunedSettings(
    flash_attention=True, kv_layout="unified", ubatch_size=256, threads=1, threads_batch=2
)


def test_it_measures_each_candidate_when_asked_and_tells_the_result_once() -> None:
    with WorkerClient() as client:
        client.load(model_path(), ONLY_FLASH)
        rule = client.wait_for(Ready).settings
        assert rule.origin == "rule"
        client.send(Tune())
        first, second = client.wait_for(Measured), client.wait_for(Measured)
        assert (first.settings.flash_attention, second.settings.flash_attention) == (False, True)
        assert (first.rows, first.depth) == (2, 64)
        tuned = client.wait_for(Tuned)
        assert tuned.settings in (first.settings, second.settings)
        assert (tuned.gain >= 1, tuned.problem) == (True, "")


def test_a_request_goes_before_a_search_which_goes_on_afterwards() -> None:
    with WorkerClient() as client:
        client.load(model_path(), ONLY_FLASH)
        client.wait_for(Ready)
        client.send(Tune())
        client.wait_for(Measured)
        greedy = Sampling(temperature=0.0, ignore_eos=True)
        client.send(text(1, "Once upon a time", sampling=greedy, max_tokens=8))
        (last,) = client.wait_for_last(1)
        assert isinstance(last, Ended)
        assert last.completion_tokens == 8
        assert client.wait_for(Tuned).settings is not None


def test_what_was_measured_before_is_in_force_at_once() -> None:
    with WorkerClient() as client:
        client.send(
            Load(
                version=WIRE_VERSION,
                model_path=str(model_path()),
                library_path=None,
                wishes=EVERYTHING,
                tuned=TUNED,
            )
        )
        settings = client.wait_for(Ready).settings
        assert settings.origin == "tuned"
        assert (settings.flash_attention, settings.kv_layout) == (True, "unified")
        assert (settings.threads, settings.threads_batch) == (1, 2)
        client.send(text(1, "Once upon a time", max_tokens=4))
        (last,) = client.wait_for_last(1)
        assert isinstance(last, Ended)
