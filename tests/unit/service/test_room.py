"""What is free on a GPU, from what workers told and what they gave back."""

from __future__ import annotations

import pytest

from runner.service.room import Devices
from runner.wire.messages import DeviceMemory


def told(free_bytes: int, at_s: float) -> DeviceMemory:
    return DeviceMemory(free_bytes=free_bytes, at_s=at_s)


@pytest.mark.parametrize(
    ("reports", "free"),
    [
        ([], None),
        ([told(7, 10.0)], 7 + 3 + 20),
        ([told(7, 11.0)], 7 + 20),  # it was there when the first had gone
        ([told(7, 12.0)], 7 + 20),
        ([told(7, 13.0)], 7),
        ([told(7, 13.0), told(9, 10.0)], 7),  # the newest counts, whoever told it
        ([told(9, 10.0), told(0, 13.0)], 0),
    ],
)
def test_the_newest_counts_and_what_came_free_since(
    reports: list[DeviceMemory], free: int | None
) -> None:
    devices = Devices()
    devices.freed(3, at_s=11.0)
    devices.freed(20, at_s=12.5)
    assert devices.free_bytes(reports) == free


def test_what_was_told_of_since_is_forgotten() -> None:
    devices = Devices()
    devices.freed(3, at_s=11.0)
    assert devices.free_bytes([told(7, 12.0)]) == 7
    assert devices.free_bytes([told(7, 10.0)]) == 7  # of a worker that has lived longer


def test_without_workers_nothing_is_remembered() -> None:
    devices = Devices()
    devices.freed(3, at_s=11.0)
    assert devices.free_bytes([]) is None
    assert devices.free_bytes([told(7, 10.0)]) == 7
