"""What each response carries: a date in English, an id of its own."""

from __future__ import annotations

import pytest

from runner import net
from runner.net.site import Site, http_date


@pytest.mark.parametrize(
    ("time_s", "date"),
    [
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"),
    ],
)
def test_a_date_is_an_imf_fixdate(time_s: int, date: str) -> None:
    assert http_date(time_s) == date


def test_no_two_requests_have_the_same_id() -> None:
    async def unused(*_: object) -> None: ...

    sites = [Site(unused, net.Limits(), on_error=unused, access_log=None) for _ in range(2)]
    ids = [site.new_request_id() for site in sites for _ in range(3)]
    assert len(set(ids)) == 6
