"""Durations, sizes and addresses as people write them (floor 0).

Durations are held as whole milliseconds and sizes as whole bytes; the two forms `parse_*` and `*_text` are inverses
on what they print. A parser raises `ValueError` whose text says what is accepted; who calls knows the name of the
option and adds it. Nothing here reads a clock, a file or the environment.
"""

import re
from fractions import Fraction
from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

DURATION_FORM: Final = "a number and a unit: 500ms, 15s, 10m, 1h or 2d"
SIZE_FORM: Final = "bytes, or a number and a unit: 512kb, 64mb or 1gb (a kb is 1024 bytes)"
ADDRESS_FORM: Final = "host:port, as in 10.0.0.5:7946 or [::1]:7946"

_DURATION_UNITS: Final = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
_SIZE_UNITS: Final = {
    "gb": GIB,
    "gib": GIB,
    "mb": MIB,
    "mib": MIB,
    "kb": KIB,
    "kib": KIB,
    "b": 1,
    "": 1,
}
_QUANTITY: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([a-z]*)", re.ASCII)
_PORT_MAX: Final = 65535


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `1.5s`. A bare number is refused, since its unit would be a guess.

    >>> parse_duration("1.5s")
    1500
    """
    if text.strip() == "0":
        return 0
    return _quantity(text, _DURATION_UNITS, DURATION_FORM)


def parse_size(text: str) -> int:
    """Bytes of a size such as `64mb`, in any case of letters.

    >>> parse_size("64MB")
    67108864
    """
    return _quantity(text, _SIZE_UNITS, SIZE_FORM)


def _quantity(text: str, units: dict[str, int], form: str) -> int:
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        raise ValueError(form)
    amount = Fraction(match[1]) * units[match[2]]
    if amount.denominator != 1:
        raise ValueError(form + ", down to one whole " + ("millisecond" if units is _DURATION_UNITS else "byte"))
    return int(amount)


def duration_text(ms: int) -> str:
    """A duration in its largest whole unit.

    >>> duration_text(90_000), duration_text(600_000), duration_text(0)
    ('90s', '10m', '0')
    """
    return _text(ms, _DURATION_UNITS)


def size_text(size: int) -> str:
    """A size in its largest whole unit.

    >>> size_text(67108864), size_text(1000)
    ('64mb', '1000')
    """
    return _text(size, {"gb": GIB, "mb": MIB, "kb": KIB, "": 1})


def _text(amount: int, units: dict[str, int]) -> str:
    if amount:
        for unit, worth in units.items():
            if amount % worth == 0:
                return f"{amount // worth}{unit}"
    return str(amount)


def parse_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 host stands in brackets. Without a port, `default_port` if there is one.

    >>> parse_address("[::1]:7946"), parse_address("db-1", 7946)
    (('::1', 7946), ('db-1', 7946))
    """
    rest = text.strip()
    if rest.startswith("["):
        host, bracket, rest = rest[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(ADDRESS_FORM)
        port_text = rest[1:] if rest else None
    else:
        host, colon, tail = rest.partition(":")
        if ":" in tail:
            raise ValueError(ADDRESS_FORM + "; an IPv6 address needs its brackets")
        port_text = tail if colon else None
    if not host or any(c.isspace() or c in "[]/," for c in host):
        raise ValueError(ADDRESS_FORM)
    if port_text is None:
        if default_port is None:
            raise ValueError(ADDRESS_FORM)
        return host, default_port
    if not (port_text.isascii() and port_text.isdigit()) or not 0 < int(port_text) <= _PORT_MAX:
        raise ValueError(f"{ADDRESS_FORM}, with a port from 1 to {_PORT_MAX}")
    return host, int(port_text)


def address_text(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 host; the inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
