"""Log lines: for people, and as JSON."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from marmoset import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the two loggers back as they were."""
    kept = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in _loggers()]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def _loggers() -> list[logging.Logger]:
    return [logs.LOGGER, logging.getLogger("asyncio")]


def written(log_format: str, level: str, event: str, fields: dict[str, object]) -> str:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    logs.log(level, event, fields)
    return stream.getvalue()


def test_human_lines_are_aligned_and_quote_only_what_needs_it() -> None:
    line = written(
        "human", "warning", "link lost", {"peer": "bea", "why": "no answer", "empty": "", "n": 5, "raw": b"a\xff"}
    )
    assert line[12:] == ' warning link lost                    peer=bea why="no answer" empty="" n=5 raw=a\\xff\n'


def test_json_lines_are_one_object_each() -> None:
    line = written("json", "info", "serving", {"name": "a\nb", "n": 5, "level": "own", "error": ValueError("x")})
    assert line.count("\n") == 1
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {"level": "info", "event": "serving", "name": "a\nb", "n": 5, "level_": "own", "error": "x"}


def test_no_field_of_a_json_line_is_quoted_for_people() -> None:
    said = 'a frame of "5" bytes'
    fields: dict[str, object] = {"why": ValueError(said), "raw": b"a b\xff", "empty": b"", "list": [ValueError("x y")]}
    parsed = json.loads(written("json", "info", "link refused", fields))
    assert [parsed[name] for name in fields] == [said, "a b\\xff", "", ["x y"]]


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_levels(log_format: str) -> None:
    assert written(log_format, "debug", "quiet", {}) == ""
    assert "loud" in written(log_format, "error", "loud", {})
    assert "warning" in written(log_format, "no such level", "odd", {})


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_tracebacks_and_lines_of_others(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    try:
        raise ValueError("the reason")
    except ValueError as error:
        logs.log("error", "failed", {"a": 1}, error)
    logging.getLogger("asyncio").error("from a library %d", 7)
    assert "the reason" in stream.getvalue() and "Traceback" in stream.getvalue()
    assert "from a library 7" in stream.getvalue()
