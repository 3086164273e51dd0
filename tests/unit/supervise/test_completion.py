from __future__ import annotations

import asyncio

import pytest

from runner.supervise.completion import Completion
from runner.wire.messages import Begun, Event, Failed, Piece, RequestId

BEGUN = Begun(7, 4, 0)
LAST = Failed(7, "cancelled", "cancelled")


class Wire:
    """Notes what was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[RequestId] = []
        self.completion = Completion(7, cancel=self.cancelled.append)


def test_events_come_in_order_and_the_last_ends_the_iteration() -> None:
    async def scene() -> list[Event]:
        completion = Wire().completion
        reader = asyncio.create_task(read(completion))
        for event in (BEGUN, Piece(7, "a", 1), LAST):
            await asyncio.sleep(0)
            completion.deliver(event)
        return await reader

    async def read(completion: Completion) -> list[Event]:
        return [event async for event in completion]

    assert asyncio.run(scene()) == [BEGUN, Piece(7, "a", 1), LAST]


def test_cancel_is_sent_once_and_not_after_the_end() -> None:
    async def scene() -> None:
        wire = Wire()
        wire.completion.cancel()
        wire.completion.cancel()
        assert wire.cancelled == [7]
        ended = Wire()
        ended.completion.deliver(LAST)
        ended.completion.cancel()
        assert ended.cancelled == []

    asyncio.run(scene())


def test_leaving_the_block_cancels_and_drops_what_still_comes() -> None:
    async def scene() -> None:
        wire = Wire()
        wire.completion.deliver(BEGUN)
        async with wire.completion as completion:
            async for event in completion:
                assert event == BEGUN
                break
        assert wire.cancelled == [7]
        wire.completion.deliver(Piece(7, "late", 1))
        wire.completion.deliver(LAST)
        assert [event async for event in wire.completion] == []

    asyncio.run(scene())


def test_an_exception_in_the_block_cancels() -> None:
    async def scene() -> None:
        wire = Wire()
        with pytest.raises(ConnectionResetError):
            async with wire.completion:
                raise ConnectionResetError
        assert wire.cancelled == [7]

    asyncio.run(scene())


def test_a_time_limit_on_one_wait_loses_nothing_and_cancels_nothing() -> None:
    async def scene() -> None:
        wire = Wire()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(wire.completion), 0)
        wire.completion.deliver(BEGUN)
        assert await anext(wire.completion) == BEGUN
        assert wire.cancelled == []

    asyncio.run(scene())


def test_closing_wakes_a_reader_that_waits() -> None:
    async def scene() -> None:
        completion = Wire().completion
        reader = asyncio.create_task(anext(completion, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await completion.aclose()
        assert await reader is None

    asyncio.run(scene())


def test_a_tap_gets_pieces_as_they_arrive_and_the_iteration_what_it_refuses() -> None:
    async def scene() -> tuple[list[str], list[Event]]:
        completion = Wire().completion
        tapped: list[str] = []

        def take(piece: Piece) -> bool:
            if piece.text == "wait":
                return False
            tapped.append(piece.text)
            return True

        completion.tap(take)
        for text in ("a", "b", "wait", "c", "d"):
            completion.deliver(Piece(7, text, 1))
        caught_up = await anext(completion)
        completion.deliver(Piece(7, "e", 1))
        completion.deliver(LAST)
        return tapped, [caught_up, *[event async for event in completion]]

    tapped, iterated = asyncio.run(scene())
    assert tapped == ["a", "b", "e"]
    assert iterated == [Piece(7, "waitcd", 3), LAST]


def test_a_tap_gets_no_piece_before_the_iteration_has_the_event_ahead_of_it() -> None:
    async def scene() -> list[Event]:
        completion = Wire().completion
        completion.tap(lambda piece: pytest.fail("it overtook"))
        completion.deliver(BEGUN)
        completion.deliver(Piece(7, "a", 1))
        return [await anext(completion), await anext(completion)]

    assert asyncio.run(scene()) == [BEGUN, Piece(7, "a", 1)]


def test_a_tap_ends_with_the_block() -> None:
    async def scene() -> None:
        completion = Wire().completion
        completion.tap(lambda piece: pytest.fail("nobody listens any more"))
        async with completion:
            pass
        completion.deliver(Piece(7, "late", 1))

    asyncio.run(scene())
