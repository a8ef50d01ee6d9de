"""What the views need of a node: plain values under the lock, and operations (floor 10).

A view holds no data. It reads `value(key, kind)` and calls `write`, both inside `with store.lock`, so that what it
decided to do is still right when it is done. Values come and go as bytes here; `encode` and `decode` are the border.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, cast

from marmoset.api.access import Access, decoded, encoded, known
from marmoset.codec.operations import AnyOperation, Reset
from marmoset.crdts.types import Value
from marmoset.errors import UsageError
from marmoset.keyspace import Keyspace
from marmoset.runtime import Runtime

T = TypeVar("T", bound=str | bytes)

Given = str | bytes | int
"""What may be written. An int is stored as its decimal text, as Redis does."""


class Store(Generic[T]):
    """One node's keyspace as the views see it. Every method is called under `lock`, but for the two codecs."""

    def __init__(self, runtime: Runtime, encoding: str | None) -> None:
        self.lock = runtime.lock
        self.encoding = encoding
        self.closed = ""
        """Why nothing can be done any more; empty while the node runs."""
        self._access = Access(runtime)
        _stores.add(self)

    @property
    def keyspace(self) -> Keyspace:
        """The keyspace, for reading."""
        self.check()
        return self._access.keyspace

    def value(self, key: bytes, wanted: int) -> Value | None:
        """The plain value of a key, None if absent; raises `WrongTypeError` if it is of another kind. O(1)."""
        if self.closed:
            raise UsageError(self.closed)
        return self._access.value(key, wanted)

    def write(self, operation: AnyOperation, size: int) -> None:
        """Apply an operation that carries `size` bytes beside its key; see `Access.write`.

        Raises:
            NotServingError: the node takes no writes now.
            UsageError: the batch would be larger than `batch_bytes_max`. Outside of `batch` nothing was changed.
        """
        if self.closed:
            raise UsageError(self.closed)
        self._access.write(operation, size)

    def write_all(self, operations: list[AnyOperation], size: int) -> None:
        """The same for some operations, `size` bytes in all: nobody sees one of them without the others."""
        if self.closed:
            raise UsageError(self.closed)
        self._access.write_all(operations, size)

    def splice(self, key: bytes, place: slice, values: list[bytes]) -> None:
        """Put values in the place of a slice, taken without its step, of the sequence at a key; raises as `write`."""
        if self.closed:
            raise UsageError(self.closed)
        self._access.splice(key, place, values)

    def reset(self, key: bytes) -> bool:
        """Remove a key; whether it was there. O(1) for the caller."""
        self._admit_write()
        if key not in self.keyspace:
            return False
        self.write(Reset(key), 0)
        return True

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Writes inside are one batch; nobody, here or elsewhere, sees a part of it. Not called under the lock."""
        self.check()
        with self.lock:
            access = self._access
            if access.in_batch:  # the one outside goes on
                yield
                return
            access.close_batch()
            access.observe_time()
            access.in_batch = True
            try:
                yield
            finally:
                access.in_batch = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For what the node writes by itself: admitted as a write, and sent at the next turn of the loop."""
        self.check()
        with self.lock:
            if self._access.in_batch:
                raise UsageError("this is not possible inside of a batch; nothing was changed")
            self._admit_write()
            self._access.refuse_growth()
            try:
                yield
            finally:
                self._access.want_turn()

    def _admit_write(self) -> None:
        self.check()
        self._access.admit(True)

    def check(self) -> None:
        """Raise `UsageError` if nothing can be done any more. Called before the lock is taken."""
        if self.closed:
            raise UsageError(self.closed)

    # The border: what is given as text, and what is returned as it

    def encode(self, value: Given) -> bytes:
        """Bytes of what a caller gives; raises `TypeError` for what is neither text, bytes nor int."""
        return encoded(value, self.encoding)

    def known(self, value: object) -> bytes | None:
        """The bytes of something that may be asked for; None for what no value can be."""
        return known(value, self.encoding)

    def decode(self, value: bytes | int) -> T:
        """What a caller gets: text, or bytes where the database was opened with `encoding=None`."""
        return cast("T", decoded(value, self.encoding))


_stores: Final["weakref.WeakSet[Store[Any]]"] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked process has the memory but neither the thread nor the right to the sockets."""
    for store in list(_stores):
        store.closed = "this database was opened before the process was forked; open one of its own after the fork"
        store.lock = threading.RLock()  # whoever held the old one does not exist here


os.register_at_fork(after_in_child=_after_fork)
