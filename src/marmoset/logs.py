"""Structured logs (floor 9).

A line is an event, a short phrase that never varies, and fields. Everything goes through the standard logger
`marmoset`, so that a program with a node inside it decides itself where lines go; only `marmoset serve` calls
`configure`, which writes them to standard error: aligned for people, or one JSON object a line.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TextIO

LOGGER: Final = logging.getLogger("marmoset")
LOGGER.addHandler(logging.NullHandler())

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_COLOURS: Final = {"debug": "2", "info": "36", "warning": "33", "error": "31"}
_EVENT_WIDTH: Final = 28


def log(level: str, event: str, fields: Mapping[str, object] | None = None, error: BaseException | None = None) -> None:
    """Write one line. A level that is not known counts as `warning`, and `error` adds its traceback. Never raises."""
    number = LEVELS.get(level, logging.WARNING)
    if LOGGER.isEnabledFor(number):
        given = dict(fields or {})
        with suppress(Exception):  # a handler of the program that breaks must not break what was about to be done
            LOGGER.log(number, "%s", described(event, given), exc_info=error, extra={"event": event, "fields": given})


def described(event: str, fields: Mapping[str, object]) -> str:
    """An event and its fields as one text."""
    return " ".join([event, *(f"{name}={shown(value)}" for name, value in fields.items())])


def as_text(value: object) -> str:
    """A value as text, nothing quoted; bytes that are not UTF-8 are escaped."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def shown(value: object) -> str:
    """A field's value for people: quoted only where a space or a quote would make it ambiguous."""
    text = as_text(value)
    plain = text and text.isprintable() and not any(c in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


class HumanFormatter(logging.Formatter):
    """`14:02:03.120 info    serving                      name=a …`, coloured where a person looks at a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback if there is one."""
        level = record.levelname.lower()
        event, fields = _parts(record)
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        details = " ".join(f"{name}={shown(value)}" for name, value in fields.items())
        line = f"{stamp} {level:<7} {event:<{_EVENT_WIDTH}} {details}".rstrip()
        if self.colour:
            line = f"\x1b[{_COLOURS.get(level, '0')}m{line}\x1b[0m"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, then the fields under their own names."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; a traceback is a field of it."""
        event, fields = _parts(record)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, object] = {"time": stamp, "level": record.levelname.lower(), "event": event}
        for name, value in fields.items():
            line[name if name not in line else f"{name}_"] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=as_text, ensure_ascii=False)


def _parts(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """Event and fields of a record; one that another library made has neither, and its message is the event."""
    event = getattr(record, "event", None)
    fields = getattr(record, "fields", None)
    if isinstance(event, str) and isinstance(fields, dict):
        return event, fields
    return record.getMessage(), {}


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Send the lines of this process to `stream`, standard error unless told otherwise."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if log_format == "json" else HumanFormatter(colour=target.isatty()))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(LEVELS[log_level])
    LOGGER.propagate = False
    asyncio_logger = logging.getLogger("asyncio")
    asyncio_logger.handlers[:] = [handler]
    asyncio_logger.propagate = False
