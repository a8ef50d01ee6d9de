"""What makes a field of a map hold a Python collection, as operations (floor 10).

Everything is read, encoded and measured before anything is written: an assignment that is refused changes nothing.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, cast, final

from marmoset.api.sequences import SequenceView
from marmoset.codec.operations import (
    NESTING_MAX,
    AnyOperation,
    ChildOperation,
    Inside,
    MapAssign,
    Scalar,
    SequenceInsert,
    SetAdd,
)
from marmoset.commands.database import request_bytes
from marmoset.errors import UsageError

COLLECTIONS: Final = (AbstractSet, Mapping, list, tuple, SequenceView)
"""What a field can be given beside text and numbers."""


@final
class Filling:
    """Operations on an empty child, and how many bytes they carry."""

    def __init__(self, encode: Callable[[object], bytes]) -> None:
        self.operations: list[AnyOperation] = []
        self.size = 0
        self._encode = encode

    def add(self, value: object, depth: int, path: tuple[bytes, ...] = ()) -> None:
        """Put a collection at the end of a path in the child, which lies `depth` maps deep. An empty one is nothing:
        there are no empty collections in fields. O(n).

        Raises:
            TypeError: it holds what is neither text, bytes, int nor a collection that may stand there.
            UsageError: it nests too deep.
        """
        if depth + len(path) > NESTING_MAX:
            raise UsageError(f"maps nest at most {NESTING_MAX} deep; nothing was changed")
        if isinstance(value, Mapping):
            self._add_fields(value, depth, path)
            return
        words = [self._encode(word) for word in cast("list[object]", value)]
        if words and isinstance(value, AbstractSet):
            self._append(path, SetAdd(b"", words), words)
        elif words:
            self._append(path, SequenceInsert(b"", None, None, cast("list[Scalar]", words)), words)

    def _add_fields(self, given: Mapping[object, object], depth: int, path: tuple[bytes, ...]) -> None:
        fields = {self._encode(name): value for name, value in given.items()}  # of 1 and "1" the later one
        texts: list[bytes] = []
        for name, value in fields.items():
            if isinstance(value, COLLECTIONS):
                self.add(value, depth, (*path, name))
            else:
                texts += (name, self._encode(value))
        if texts:
            self._append(path, MapAssign(b"", cast("list[Scalar]", texts)), texts)

    def _append(self, path: tuple[bytes, ...], operation: ChildOperation, words: list[bytes]) -> None:
        self.operations.append(Inside(b"", [*path], operation) if path else operation)
        self.size += request_bytes([*path]) + request_bytes(words)
