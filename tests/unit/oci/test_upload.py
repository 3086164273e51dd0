from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.oci.upload import (
    CHUNK_BYTES,
    LEAST_CHUNK_BYTES,
    MAX_IDLE_TRIES,
    MAX_LOCATION_CHARACTERS,
    Pace,
    Send,
    Upload,
    content_range,
    parse_received,
    plan_send,
    resolve_location,
    with_digest,
)

HTTPS = "https://registry.example:5000/v2/team/model/blobs/uploads/"
HTTP = "http://127.0.0.1:5000/v2/team/model/blobs/uploads/"
DIGEST = Digest.of(b"weights")


@pytest.mark.parametrize(
    ("base", "location", "resolved"),
    [
        # absolute, relative to the host, to the path; state in the query stays byte for byte
        (HTTPS, "https://registry.example:5000/u/1", "https://registry.example:5000/u/1"),
        (HTTPS, "https://storage.example/u?sig=a%2Fb+c", "https://storage.example/u?sig=a%2Fb+c"),
        (HTTPS, "/v2/u/1?_state=x%3D", "https://registry.example:5000/v2/u/1?_state=x%3D"),
        (HTTPS, "1234", f"{HTTPS}1234"),
        (HTTPS, "//other.example/u", "https://other.example/u"),
        (HTTPS, "/u/1#part", "https://registry.example:5000/u/1"),
        (HTTP, "http://127.0.0.1:5000/u/1", "http://127.0.0.1:5000/u/1"),
        (HTTP, "https://127.0.0.1:5443/u/1", "https://127.0.0.1:5443/u/1"),
        # behind a front end that ends TLS
        (HTTPS, "http://registry.example:5000/u/1", "https://registry.example:5000/u/1"),
        (HTTPS, "http://registry.example/u/1?a=b", "https://registry.example:5000/u/1?a=b"),
    ],
)
def test_a_location_is_resolved_against_what_was_asked(
    base: str, location: str, resolved: str
) -> None:
    assert resolve_location(base, location) == resolved


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("http://storage.example/u/1", "leads from https to http"),
        ("ftp://registry.example/u/1", "is no plain http or https URL"),
        ("file:///etc/passwd", "is no plain http or https URL"),
        ("https://user:word@registry.example/u/1", "is no plain http or https URL"),
        ("https://registry.example:port/u/1", "is no URL"),
        ("https://[::1/u/1", "is no URL"),
        ("", "is no URL"),
        ("/u/1\r\nHost: other.example", "is no URL"),
        ("/u/\N{LATIN SMALL LETTER E WITH ACUTE}", "is no URL"),
        ("/" + "a" * MAX_LOCATION_CHARACTERS, "is no URL"),
    ],
)
def test_a_location_that_leads_astray_is_refused(location: str, problem: str) -> None:
    with pytest.raises(RunnerError) as caught:
        resolve_location(HTTPS, location)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert (
        caught.value.message
        == f"registry.example:5000 sent the upload to a Location that {problem}"
    )


@given(st.text(max_size=200))
def test_any_location_is_resolved_or_refused(location: str) -> None:
    try:
        resolved = resolve_location(HTTPS, location)
    except RunnerError as error:
        assert error.kind is Kind.REGISTRY_UNAVAILABLE
    else:
        assert resolved.startswith("https://")


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("0-0", 0),
        ("0-1", 2),
        ("0-1023", 1024),
        ("bytes=0-1023", 1024),
        (" 0-1023 ", 1024),
        (None, None),
        ("", None),
        ("1-1023", None),
        ("0-", None),
        ("-5", None),
        ("0-1023/2048", None),
        ("0-" + "9" * 30, None),
    ],
)
def test_a_range_tells_what_the_registry_has(text: str | None, received: int | None) -> None:
    assert parse_received(text) == received


@pytest.mark.parametrize(
    ("location", "ended"),
    [
        ("https://r.example/u/1", f"https://r.example/u/1?digest={DIGEST}"),
        ("https://r.example/u/1?_state=a%3D", f"https://r.example/u/1?_state=a%3D&digest={DIGEST}"),
    ],
)
def test_the_digest_ends_an_upload(location: str, ended: str) -> None:
    assert with_digest(location, DIGEST) == ended


def test_a_chunk_names_its_first_and_last_byte() -> None:
    assert content_range(Send(10, 20)) == "10-19"


def test_a_session_follows_its_location_and_stays_without_one() -> None:
    upload = Upload("https://r.example/u/1", 0, 5)
    assert upload.moved("https://r.example/u/1", "/u/2", 7) == Upload("https://r.example/u/2", 7, 5)
    assert upload.moved("https://r.example/u/1", None, 7) == Upload("https://r.example/u/1", 7, 5)


def test_a_blob_goes_in_one_piece_first() -> None:
    assert plan_send(Upload(HTTP), 10 * CHUNK_BYTES, Pace()) == Send(
        0, 10 * CHUNK_BYTES, is_whole=True
    )
    assert plan_send(Upload(HTTP), 0, Pace()) == Send(0, 0, is_whole=True)


def test_after_a_break_it_goes_on_in_chunks_from_where_the_registry_is() -> None:
    size = 2 * CHUNK_BYTES
    pace = Pace().after_break(1000)
    assert pace == Pace(CHUNK_BYTES, furthest=1000)
    assert plan_send(Upload(HTTP, 1000), size, pace) == Send(1000, 1000 + CHUNK_BYTES)
    assert plan_send(Upload(HTTP, 1000 + CHUNK_BYTES), size, pace) == Send(1000 + CHUNK_BYTES, size)
    assert plan_send(Upload(HTTP, size), size, pace).size_bytes == 0


def test_a_registry_may_ask_for_larger_chunks() -> None:
    upload = Upload(HTTP, 0, min_chunk_bytes=CHUNK_BYTES + 1)
    assert plan_send(upload, 3 * CHUNK_BYTES, Pace(CHUNK_BYTES)) == Send(0, CHUNK_BYTES + 1)


def test_chunks_get_smaller_where_nothing_is_gained_and_it_ends() -> None:
    pace: Pace | None = Pace()
    sizes = []
    while pace is not None:
        sizes.append(pace.chunk_bytes)
        pace = pace.after_break(0)
    mib = 1024 * 1024
    assert sizes == [None, 64 * mib, 16 * mib, 4 * mib, mib, mib]
    assert len(sizes) == MAX_IDLE_TRIES


def test_what_is_gained_gives_new_patience() -> None:
    tired = Pace(LEAST_CHUNK_BYTES, idle_tries=MAX_IDLE_TRIES - 1, furthest=10)
    assert tired.after_break(10) is None
    assert tired.after_break(11) == Pace(LEAST_CHUNK_BYTES, idle_tries=0, furthest=11)


def test_a_registry_that_refuses_chunks_gets_everything_in_one_piece() -> None:
    pace = Pace(CHUNK_BYTES).without_chunks().after_break(0)
    assert pace == Pace(None, takes_chunks=False, idle_tries=1)
    assert plan_send(Upload(HTTP), 2 * CHUNK_BYTES, pace).is_whole


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**40), st.none() | st.just(1))
def test_a_part_lies_in_the_blob(offset: int, rest: int, least: int, chunk: int | None) -> None:
    send = plan_send(Upload(HTTP, offset, least), offset + rest, Pace(chunk))
    assert send.start == offset and send.start <= send.stop <= offset + rest
    assert send.stop > send.start or rest == 0
