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

from marmoset.codec.operations import AnyOperation, Reset
from marmoset.crdts.types import KIND_NAMES, Value, kind_of
from marmoset.errors import MarmosetError, UsageError
from marmoset.keyspace import Keyspace
from marmoset.runtime import Runtime

T = TypeVar("T", bound=str | bytes)

Given = str | bytes | int
"""What may be written. An int is stored as its decimal text, as Redis does."""

_OVERHEAD_BYTES: Final = 32
_CLOSE_ABOVE_BYTES: Final = 1 << 20


class WrongTypeError(UsageError):
    """The key holds a value of another type; nothing was changed."""


class NotServingError(MarmosetError):
    """The node does not take this now: it has left, was presumed dead, or its clock is wrong; nothing was changed."""


class Store(Generic[T]):
    """One node's keyspace as the views see it. Every method is called under `lock`, but for the two codecs."""

    def __init__(self, runtime: Runtime, encoding: str | None) -> None:
        self.lock = runtime.lock
        self.encoding = encoding
        self.closed = ""
        """Why nothing can be done any more; empty while the node runs."""
        self._runtime = runtime
        self._node = runtime.node
        self._in_batch = False
        self._open_bytes = 0  # written since a batch was closed from here; the loop may have closed one since
        _stores.add(self)

    @property
    def keyspace(self) -> Keyspace:
        """The keyspace, for reading."""
        self._admit(write=False)
        return self._node.replica.keyspace

    def value(self, key: bytes, wanted: int) -> Value | None:
        """The plain value of a key, None if absent; raises `WrongTypeError` if it is of another kind. O(1)."""
        found = self.keyspace.get(key)
        if found is not None and kind_of(found) != wanted:
            raise WrongTypeError(f"{key!r} holds a {KIND_NAMES[kind_of(found)]}, not a {KIND_NAMES[wanted]}")
        return found

    def write(self, operation: AnyOperation, size: int) -> None:
        """Apply an operation that carries `size` bytes, and have it sent at the next turn of the loop.

        Raises:
            NotServingError: the node takes no writes now.
            UsageError: the batch would be larger than `batch_bytes_max`. Outside of `batch` nothing was changed.
        """
        self._admit(write=True)
        size += _OVERHEAD_BYTES
        limit, replica = self._node.config.batch_bytes_max, self._node.replica
        if self._in_batch:
            if self._open_bytes + size > limit:
                done = "what the batch has written so far stays" if self._open_bytes else "nothing was written"
                raise UsageError(
                    f"a batch of {self._open_bytes + size} bytes, where batch_bytes_max allows {limit}; {done}",
                    changed=self._open_bytes > 0,
                )
        elif size > limit:
            raise UsageError(f"a write of {size} bytes, where batch_bytes_max allows {limit}; nothing was written")
        elif self._open_bytes + size > _CLOSE_ABOVE_BYTES:
            self._close_batch()
        self._open_bytes += size
        replica.submit(operation)
        if not self._in_batch:
            replica.end_of_command()
        self._runtime.want_turn_from_thread()

    def reset(self, key: bytes) -> bool:
        """Remove a key; whether it was there. O(1) for the caller."""
        self._admit(write=True)
        if key not in self.keyspace:
            return False
        self.write(Reset(key), len(key))
        return True

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Writes inside are one batch; nobody, here or elsewhere, sees a part of it. Not called under the lock."""
        self.check()
        with self.lock:
            if self._in_batch:  # the one outside goes on
                yield
                return
            self._close_batch()
            self._in_batch = True
            try:
                yield
            finally:
                self._in_batch = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For what the node writes by itself: admitted as a write, and sent at the next turn of the loop."""
        self.check()
        with self.lock:
            if self._in_batch:
                raise UsageError("this is not possible inside of a batch; nothing was changed")
            self._admit(write=True)
            try:
                yield
            finally:
                self._runtime.want_turn_from_thread()

    def _close_batch(self) -> None:
        """Close the open batch between two writes. The next write asks for the turn that sends both."""
        self._node.replica.commit()
        self._open_bytes = 0

    def _admit(self, write: bool) -> None:
        if self.closed:
            raise UsageError(self.closed)
        refusal = self._node.refusal(write)
        if refusal is not None:
            raise NotServingError(refusal)

    def check(self) -> None:
        """Raise `UsageError` if nothing can be done any more. Called before the lock is taken."""
        if self.closed:
            raise UsageError(self.closed)

    # The border: what is given as text, and what is returned as it

    def encode(self, value: Given) -> bytes:
        """Bytes of what a caller gives; raises `TypeError` for what is neither text, bytes nor int."""
        if isinstance(value, str):
            return value.encode(self.encoding or "utf-8", "surrogateescape")
        if isinstance(value, bytes):
            return value
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"values are str, bytes or int, not {type(value).__name__}")
        return b"%d" % value

    def decode(self, value: bytes | int) -> T:
        """What a caller gets: text, or bytes where the database was opened with `encoding=None`."""
        raw = b"%d" % value if isinstance(value, int) else value
        if self.encoding is None:
            return cast("T", raw)
        return cast("T", raw.decode(self.encoding, "surrogateescape"))


_stores: Final["weakref.WeakSet[Store[Any]]"] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked process has the memory but neither the thread nor the right to the sockets."""
    for store in list(_stores):
        store.closed = "this database was opened before the process was forked; open one of its own after the fork"
        store.lock = threading.RLock()  # whoever held the old one does not exist here


os.register_at_fork(after_in_child=_after_fork)
