from __future__ import annotations

import io
import json
import logging
import re
import stat
import sys
from pathlib import Path

from runner import logs


def test_a_line_has_time_level_logger_and_message() -> None:
    stream = io.StringIO()
    with logs.open_logs("info", [logging.StreamHandler(stream)]):
        logging.getLogger("runner.net").info("hello %s", "world")
    pattern = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] info runner\.net hello world\n"
    assert re.fullmatch(pattern, stream.getvalue())


def test_the_level_rules_our_loggers_and_others_speak_from_warning_on() -> None:
    stream = io.StringIO()
    with logs.open_logs("debug", [logging.StreamHandler(stream)]):
        logging.getLogger("runner.x").debug("ours")
        logging.getLogger("urllib3").info("theirs")
        logging.getLogger("urllib3").warning("their warning")
    said = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert said == ["debug runner.x ours", "warning urllib3 their warning"]


def test_nothing_is_left_of_the_set_up_afterwards() -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger("runner").level)
    with logs.open_logs("debug", [logging.StreamHandler(io.StringIO())]):
        pass
    assert (logging.getLogger().handlers, logging.getLogger("runner").level) == before


def test_no_record_can_begin_a_line_or_steer_a_terminal() -> None:
    assert logs.escape("a\r\n[2026] fake\x1b[2J\u2028é\udcff") == (
        "a\\r\\n[2026] fake\\x1b[2J\\u2028é\\udcff"
    )


def test_a_traceback_is_part_of_its_line() -> None:
    stream = io.StringIO()
    with logs.open_logs("info", [logging.StreamHandler(stream)]):
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("runner").exception("it failed")
    assert stream.getvalue().count("\n") == 1
    assert "it failed\\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: no\n")


def test_json_is_one_object_a_line_with_what_the_record_is_found_by() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    facts = {"request_id": "r-1", "status": 200}
    with logs.open_logs("info", [handler]):
        logging.getLogger("runner.access").info("a\n%s\u2028\udcff", "b", extra={"facts": facts})
    [line] = stream.getvalue().splitlines()
    assert line.isascii()
    said = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said.pop("time"))
    assert said == {
        "level": "info",
        "logger": "runner.access",
        "message": "a\nb\u2028\udcff",
        "request_id": "r-1",
        "status": 200,
    }


def test_json_has_a_traceback_as_a_member_of_its_own() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    with logs.open_logs("info", [handler]):
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("runner").exception("it failed")
    said = json.loads(stream.getvalue())
    assert said["message"] == "it failed"
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: no")


def test_e10_the_file_is_private_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runner.log"
    handler = logs.open_file(path)
    handler.maxBytes = 200  # type: ignore[attr-defined]
    with logs.open_logs("info", [handler]):
        for number in range(20):
            logging.getLogger("runner").info("line %d", number)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "runner.log",
        "runner.log.1",
        "runner.log.2",
    ]
    assert all(file.stat().st_size <= 200 for file in path.parent.iterdir())
    assert path.read_text().endswith("line 19\n")


def test_e2_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    handler = logs.open_file(tmp_path / "runner.log")
    handler.setStream(Full()).close()  # type: ignore[attr-defined]
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        with logs.open_logs("info", [handler]):
            logging.getLogger("runner").info("lost")
        said = sys.stderr.getvalue()
    finally:
        sys.stderr = before
    assert said == ""
