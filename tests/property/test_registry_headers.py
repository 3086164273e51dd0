"""What a stranger writes into headers, bodies and URLs gives values or a refusal, nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.oci.challenge import parse_challenges
from runner.oci.errcode import parse_faults
from runner.oci.retry import parse_retry_after
from runner.oci.scope import merge_scopes, parse_scopes
from runner.registry.address import Origin, resolve_url

TEXT = st.text(max_size=200) | st.text('Bearer Basic realm=",\\ \t=xyz', max_size=80)
WORD = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(TEXT)
def test_any_challenge_is_parsed(text: str) -> None:
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower()


@given(st.lists(st.tuples(WORD, st.dictionaries(WORD, VALUE, max_size=4)), max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(
    challenges: list[tuple[str, dict[str, str]]],
) -> None:
    def quote(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quote(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    parsed = [(item.scheme, dict(item.parameters)) for item in parse_challenges(text)]
    assert parsed == challenges


@given(st.binary(max_size=300))
def test_any_error_body_is_read(body: bytes) -> None:
    for fault in parse_faults(body):
        assert fault.message.isprintable()


@given(TEXT)
def test_any_retry_after_is_none_or_a_wait(text: str) -> None:
    seconds = parse_retry_after(text, now_s=1e9)
    assert seconds is None or seconds >= 0


@given(TEXT)
def test_any_scope_is_sorted_and_has_no_blank(text: str) -> None:
    for scope in merge_scopes(parse_scopes(text)):
        assert " " not in str(scope)


@given(st.sampled_from(["https://a.example/x", "http://[::1]:5000/"]), TEXT)
def test_any_location_gives_an_origin_or_a_refusal(base: str, location: str) -> None:
    try:
        origin = Origin.of(resolve_url(base, location))
    except ValueError:
        return
    assert origin.scheme in ("http", "https")
    assert origin.host
