from __future__ import annotations

import pytest

from runner.cli import output
from runner.errors import Kind, RunnerError

MINUTE, HOUR, DAY = 60, 3600, 86400


def test_a_table_has_columns_two_blanks_apart_and_no_borders() -> None:
    assert output.render_table(("NAME", "SIZE"), [["smollm2", "1"], ["x", "256.35MiB"]]) == (
        "NAME     SIZE\nsmollm2  1\nx        256.35MiB\n"
    )


def test_an_empty_table_is_its_header() -> None:
    assert output.render_table(("A", "B"), []) == "A  B\n"


def test_a_cell_cannot_steer_the_terminal() -> None:
    assert output.render_table(("A",), [["\x1b[2Jevil\n"]]) == "A\n\ufffd[2Jevil\ufffd\n"


def test_json_has_four_blanks_and_readable_text() -> None:
    assert output.render_json([{"ä": 1}]) == '[\n    {\n        "ä": 1\n    }\n]\n'


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("docker.io/ai/smollm2:latest", "smollm2"),
        ("index.docker.io/ai/smollm2:8k", "smollm2:8k"),
        ("docker.io/org/model:latest", "org/model"),
        ("huggingface.co/org/repo:Q4", "huggingface.co/org/repo:Q4"),
        ("localhost:5000/ai/x:latest", "localhost:5000/ai/x"),
    ],
)
def test_names_are_shortened(tag: str, shown: str) -> None:
    assert output.display_name(tag) == shown


@pytest.mark.parametrize(
    ("digest", "short"), [("sha256:0123456789abcdef", "0123456789ab"), ("abc", "abc")]
)
def test_ids_are_twelve_digits(digest: str, short: str) -> None:
    assert output.short_id(digest) == short


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.00B"), (999, "999.00B"), (1000, "1.00kB"), (270_603_264, "270.60MB"), (5e12, "5.00TB")],
)
def test_sizes_are_decimal(size: int, text: str) -> None:
    assert output.decimal_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (HOUR, "About an hour"),
        (2 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (2 * DAY, "2 days"),
        (14 * DAY, "2 weeks"),
        (60 * DAY, "2 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_ages_are_words(seconds: float, text: str) -> None:
    assert output.age(seconds) == text


def test_a_block_keeps_lines_and_emoji_and_loses_controls() -> None:
    family = "👩\u200d👧"
    assert output.printable_block(f"a\n\tb {family}\x1b[1m\r\x00\u202e") == (
        f"a\n\tb {family}\ufffd[1m\ufffd\ufffd\ufffd"
    )


def test_an_error_is_one_line_with_what_to_do() -> None:
    error = RunnerError(Kind.USAGE, "no\nfile", hint="give one")
    assert output.one_line(error) == "no file; give one"
