"""Engine events in the words of the pipe, and pieces joined without changing an id's order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner import engine
from runner.engine.backend import Score
from runner.errors import Kind
from runner.wire.messages import Begun, Ended, Event, Failed, Piece, Timings, TokenLogprob
from runner.worker.translate import Translator, coalesce


def translator() -> Translator:
    return Translator(lambda token: b"<%d>" % token)


def test_a_piece_without_log_probabilities() -> None:
    piece = engine.Piece(7, "hé", 3, None, ())
    assert translator().translate(piece) == Piece(7, "hé", 1)


def test_log_probabilities_carry_the_bytes_of_their_tokens() -> None:
    piece = engine.Piece(7, "", 3, -0.5, ((3, -0.5), (4, -1.5)))
    top = ((3, b"<3>", -0.5), (4, b"<4>", -1.5))
    assert translator().translate(piece) == Piece(7, "", 1, (TokenLogprob(3, b"<3>", -0.5, top),))


def test_begun() -> None:
    assert translator().translate(engine.Begun(7, 10, 4)) == Begun(7, 10, 4)


def test_the_scores_of_a_prompt_carry_bytes_too() -> None:
    begun = engine.Begun(7, 2, 0, 9, (Score(3, -0.5, ((4, -0.25),)),))
    told = (TokenLogprob(3, b"<3>", -0.5, ((4, b"<4>", -0.25),)),)
    assert translator().translate(begun) == Begun(7, 2, 0, b"<9>", told)


def ended(**changes: object) -> engine.Ended:
    values = {
        "reason": "eos",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 5,
        "prompt_s": 0.25,
        "predicted_s": 0.5,
    }
    return engine.Ended(7, **(values | changes))


def test_the_end_with_its_timings() -> None:
    timings = Timings(cache_n=4, prompt_n=6, prompt_ms=250.0, predicted_n=5, predicted_ms=500.0)
    assert translator().translate(ended()) == Ended(7, "eos", 10, 4, 5, timings)


def test_checked_guesses_are_in_the_timings() -> None:
    event = translator().translate(ended(drafted=9, accepted=6))
    assert isinstance(event, Ended)
    assert (event.timings.draft_n, event.timings.draft_n_accepted) == (9, 6)


def test_the_stop_string_that_was_met_is_named() -> None:
    made = translator()
    made.open(7, ("###", "END"))
    event = made.translate(ended(reason="stop", stop_index=1))
    assert isinstance(event, Ended)
    assert event.stopping_word == "END"


def test_a_failure_keeps_everything_it_says() -> None:
    failed = engine.Failed(7, Kind.BUSY, "full", "later", "n", {"retry_after_s": 2})
    assert translator().translate(failed) == Failed(
        7, "server_busy", "full", "later", "n", {"retry_after_s": 2}
    )


def test_pieces_of_an_id_are_joined_and_the_rest_keeps_its_place() -> None:
    end = translator().translate(ended())
    events = [Begun(7, 1, 0), Piece(7, "a", 1), Piece(8, "x", 1), Piece(7, "b", 2), end]
    assert coalesce(events) == (Begun(7, 1, 0), Piece(7, "ab", 3), Piece(8, "x", 1), end)


events = st.one_of(
    st.builds(Piece, st.integers(1, 3), st.text(max_size=3), st.integers(1, 3)),
    st.builds(Begun, st.integers(1, 3), st.just(1), st.just(0)),
    st.builds(Failed, st.integers(1, 3), st.just("cancelled"), st.just("")),
)


@given(st.lists(events, max_size=20))
def test_joining_loses_nothing(events: list[Event]) -> None:
    joined = coalesce(events)
    for id in (1, 2, 3):
        before = [event for event in events if event.id == id and isinstance(event, Piece)]
        after = [event for event in joined if event.id == id and isinstance(event, Piece)]
        assert len(after) <= 1
        assert "".join(piece.text for piece in before) == "".join(piece.text for piece in after)
        assert sum(piece.tokens for piece in before) == sum(piece.tokens for piece in after)
    others = [event for event in events if not isinstance(event, Piece)]
    assert [event for event in joined if not isinstance(event, Piece)] == others
