"""Which encodings a database can be opened with (floor 10): those in which no key and no value gets lost."""

import codecs
from typing import Final

from marmoset.api.access import decoded, encoded
from marmoset.errors import UsageError

_ASCII: Final = bytes(range(128))
_SAMPLES: Final = (*(bytes([number]) for number in range(256)), bytes(range(256)), _ASCII, b"\\u0041", b"+AEE-")


def checked_encoding(encoding: object) -> str:
    """The name of an encoding as Python has it. It has to write ASCII as ASCII does, as numbers are written, and to
    give back any bytes that it has read as text.

    Raises:
        UsageError: it is no such encoding, or none at all.
    """
    try:
        if not isinstance(encoding, str):
            raise LookupError("it takes a name, or None for bytes")
        name = codecs.lookup(encoding).name
        is_exact = decoded(_ASCII, name) == _ASCII.decode("ascii") and all(
            encoded(decoded(sample, name), name) == sample for sample in _SAMPLES
        )
    except (LookupError, ValueError) as error:
        raise UsageError(f"encoding: {encoding!r} is not accepted: {error}") from error
    if not is_exact:
        raise UsageError(
            f"encoding: {encoding!r} is not accepted: it does not give back all bytes, or writes ASCII in another way"
        )
    return name
