from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.transfer.claims import Claim, Claims


def bounds(claim: Claim | None) -> tuple[int, int] | None:
    return None if claim is None else (claim.next, claim.end)


def test_the_first_missing_run_is_taken_whole_or_in_part() -> None:
    claims = Claims(10, done=[0, 4])
    assert bounds(claims.take(None)) == (1, 4)
    assert bounds(claims.take(2)) == (5, 7)
    assert bounds(claims.take(2)) == (7, 9)
    assert bounds(claims.take(2)) == (9, 10)
    assert claims.take(2) is None


def test_who_is_idle_halves_the_longest_claim_that_is_worth_it() -> None:
    claims = Claims(16)
    first = claims.take(None)
    assert first is not None
    assert bounds(claims.take(None)) == (8, 16)
    assert bounds(first) == (0, 8)
    assert bounds(claims.take(None)) == (4, 8)
    assert bounds(claims.take(None)) == (12, 16)
    assert claims.take(None) is None


def test_a_claim_is_shortened_and_goes_on_when_nobody_took_what_it_gave_back() -> None:
    claims = Claims(8)
    claim = claims.take(None)
    assert claim is not None
    claims.shorten(2)
    assert bounds(claim) == (0, 2)
    assert [claims.settle(claim), claims.settle(claim)] == [0, 1]
    assert claims.prolong(claim, 3)
    assert bounds(claim) == (2, 5)
    assert bounds(claims.take(None)) == (5, 8)
    assert [claims.settle(claim) for _ in range(3)] == [2, 3, 4]
    assert not claims.prolong(claim, 3)


def test_what_is_given_back_and_what_was_wrong_is_taken_again() -> None:
    claims = Claims(4)
    claim = claims.take(None)
    assert claim is not None
    claims.settle(claim)
    claims.release(claim)
    assert bounds(claims.take(None)) == (1, 4)
    claims.reopen(0)
    assert bounds(claims.take(None)) == (0, 1)


@given(st.integers(0, 60), st.data())
def test_every_block_is_fetched_once_whoever_takes_it_and_in_whatever_order(
    count: int, data: st.DataObject
) -> None:
    claims, held, fetched = Claims(count), list[Claim](), list[int]()
    for _ in range(1000):
        if claims.done_count == count:
            break
        for claim in [claim for claim in held if not claim.remaining]:
            held.remove(claim)
            claims.release(claim)
        match data.draw(st.sampled_from(["take", "settle", "shorten", "prolong", "release"])):
            case "take" if claim := claims.take(data.draw(st.sampled_from([None, 1, 7]))):
                held.append(claim)
            case "settle" if held:
                fetched.append(claims.settle(data.draw(st.sampled_from(held))))
            case "shorten":
                claims.shorten(data.draw(st.integers(1, 5)))
            case "prolong" if held:
                claim = data.draw(st.sampled_from(held))
                while claim.remaining:
                    fetched.append(claims.settle(claim))
                claims.prolong(claim, 2)
            case "release" if held:
                claims.release(held.pop())
    assert len(fetched) == len(set(fetched)) == claims.done_count
