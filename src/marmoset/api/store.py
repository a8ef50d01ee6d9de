"""What the views need of a node: plain values under the lock, and operations (floor 10).

A view holds no data. It reads `value(key, kind)` and calls `write`, both inside `with store.lock`, so that what it
decided to do is still right when it is done. Values come and go as bytes there; `encode` and `decode` are the border.

What programs do most has one method for the whole way, border and lock included, so that where this module is compiled
a view makes one call. That takes less than half of the instructions, and no thread loses the interpreter on the way,
with the lock in its hand, for others to wait for.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar, cast, final

from marmoset import build
from marmoset.api.access import Access, all_encoded, decoded, encoded, known, splicing, whole_number
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    AnyOperation,
    MapRemove,
    Reset,
    Scalar,
    SetRemove,
)
from marmoset.commands.database import request_bytes
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value
from marmoset.errors import UsageError
from marmoset.keyspace import Keyspace
from marmoset.runtime import Runtime

T = TypeVar("T", bound=str | bytes)

Given = str | bytes | int
"""What may be written. An int is stored as its decimal text, as Redis does."""


FORKED: Final = "this database was opened before the process was forked; open one of its own after the fork"


@final
class _Forks:
    """How many forks lie between the first process and this one."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add_one(self) -> None:
        """This process is a new one: it has the memory, but neither the threads nor the right to the sockets."""
        self.count += 1


@final
class Guard:
    """A lock as compiled code takes it and gives it back, which knows what it calls here. Interpreted, the lock itself
    is better: a signal handler that raises can do so when `__enter__` returns, which would leave it taken."""

    __slots__ = ("_give", "_take")

    def __init__(self, lock: threading.RLock) -> None:
        self._take: Callable[[], object] = lock.acquire
        self._give: Callable[[], None] = lock.release

    def __enter__(self) -> None:
        self._take()

    def __exit__(self, _kind: object, _problem: object, _traceback: object) -> None:
        self._give()


_FORKS: Final = _Forks()
os.register_at_fork(after_in_child=_FORKS.add_one)


def _has(found: Value | None, name: bytes | None) -> bool:
    """Whether a set has an element, or a map a field. Each type is asked by itself: compiled code knows how. O(1)."""
    if found is None:
        return False
    if isinstance(found, set):
        return name in found
    if isinstance(found, dict):
        return name in found
    assert isinstance(found, (SplitSet, SplitMap, NestedMap))
    return name in found


class Store(Generic[T]):
    """One node's keyspace as the views see it. Every method is called under `lock`, or takes it by itself."""

    def __init__(self, runtime: Runtime, encoding: str | None) -> None:
        self.encoding = encoding
        self._access: Access = Access(runtime)
        self._begin(runtime.lock)

    def _begin(self, lock: threading.RLock) -> None:
        self.lock = lock
        self._guard = Guard(lock) if build.kind() == build.COMPILED else cast("Guard", lock)
        self._closed = ""
        self._forks = _FORKS.count

    @property
    def closed(self) -> str:
        """Why nothing can be done any more; empty while the node runs."""
        return self._closed or (FORKED if self._forks != _FORKS.count else "")

    def close(self, why: str) -> None:
        """Refuse whatever comes from now on."""
        self._closed = why

    def check(self) -> None:
        """Raise `UsageError` if nothing can be done any more. Called before the lock is taken: in a process that was
        forked off, whoever holds it may not exist."""
        if self._closed or self._forks != _FORKS.count:
            raise UsageError(self.closed)

    def refuse_in_batch(self) -> None:
        """Raise `UsageError` inside of a batch of this thread: whoever else needs the lock waits for its end."""
        if self.lock.acquire(blocking=False):  # in a batch of another thread it cannot be had
            try:
                if self._access.in_batch:
                    raise UsageError("this is not possible inside of a batch; nothing was changed")
            finally:
                self.lock.release()

    # The border: what is given as text, and what is returned as it; without the lock

    def encode(self, value: object) -> bytes:
        """Bytes of what a caller gives; raises `TypeError` for what is neither text, bytes nor int."""
        return encoded(value, self.encoding)

    def known(self, value: object) -> bytes | None:
        """The bytes of something that may be asked for; None for what no value can be."""
        return known(value, self.encoding)

    def decode(self, value: bytes | int) -> T:
        """What a caller gets: text, or bytes where the database was opened with `encoding=None`."""
        return cast("T", decoded(value, self.encoding))

    def place(self, key: bytes) -> tuple[object, ...]:
        """Where a key is: equal for what is one value, seen through whichever views."""
        return (self._access, key)

    # Reads and writes; under the lock

    @property
    def keyspace(self) -> Keyspace:
        """The keyspace, for reading."""
        self.check()
        return self._access.keyspace

    def value(self, key: bytes, wanted: int) -> Value | None:
        """The plain value of a key, None if absent; raises `WrongTypeError` if it is of another kind. O(1)."""
        self.check()
        return self._access.value(key, wanted)

    def write(self, operation: AnyOperation, size: int) -> None:
        """Apply an operation that carries `size` bytes beside its key; see `Access.write`.

        Raises:
            NotServingError: the node takes no writes now.
            UsageError: the batch would be larger than `batch_bytes_max`. Outside of `batch` nothing was changed.
        """
        self.check()
        self._access.write(operation, size)

    def write_all(self, operations: list[AnyOperation], size: int) -> None:
        """The same for some operations, `size` bytes in all: nobody sees one of them without the others."""
        self.check()
        self._access.write_all(operations, size)

    def splice(self, key: bytes, place: slice, values: list[bytes]) -> None:
        """Put values in the place of a slice, taken without its step, of the sequence at a key; raises as `write`."""
        found = self.sequence(key)
        start, stop, _ = place.indices(0 if found is None else len(found))
        self._splice(key, found, start, max(start, stop), values)

    def sequence(self, key: bytes) -> Sequence | None:
        """The sequence at a key, None if absent; raises as `value`. O(1)."""
        found = self.value(key, KIND_SEQUENCE)
        assert found is None or isinstance(found, Sequence)
        return found

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

    # Where one of these is written to, once it was looked at

    def _put_element(self, key: bytes, element: bytes) -> None:
        self._access.add(key, element)

    def _put_field(self, key: bytes, field: bytes, value: bytes) -> None:
        self._access.assign_field(key, field, value)

    def _put_last(self, key: bytes, value: bytes) -> None:
        self._access.push(key, value)

    def _splice(self, key: bytes, found: Sequence | None, start: int, stop: int, values: list[bytes]) -> None:
        if (values or start < stop) and not self._access.splice(key, start, stop, values):
            self.write_all(*splicing(key, found, start, stop, values))

    # The whole way: these take the lock. They raise what `value` and `write` raise.

    def contains(self, key: bytes, kind: int, name: object) -> bool:
        """Whether the set at a key has an element, or the map there a field. O(1)."""
        wanted = known(name, self.encoding)
        self.check()
        with self._guard:
            return _has(self.value(key, kind), wanted)

    def add(self, key: bytes, value: object) -> None:
        """Add an element to the set at a key. O(1)."""
        element = encoded(value, self.encoding)
        self.check()
        with self._guard:
            self.value(key, KIND_SET)
            self._put_element(key, element)

    def discard(self, key: bytes, value: object) -> bool:
        """Remove an element of the set at a key; whether it was there. O(1)."""
        element = encoded(value, self.encoding)
        self.check()
        with self._guard:
            if not _has(self.value(key, KIND_SET), element):
                return False
            self.write(SetRemove(key, [element]), request_bytes([element]))
            return True

    def length(self, key: bytes, kind: int) -> int:
        """How many elements or fields the collection of a kind at a key has, 0 if it is absent. O(1)."""
        self.check()
        with self._guard:
            found = self.value(key, kind)
            if found is None:
                return 0
            assert not isinstance(found, (bytes, int))
            return len(found)

    def remove_field(self, key: bytes, name: object) -> bool:
        """Remove a field of the map at a key; whether it was there. O(1)."""
        field = known(name, self.encoding)
        self.check()
        with self._guard:
            if not _has(self.value(key, KIND_MAP), field):
                return False
            assert field is not None
            self.write(MapRemove(key, [field]), len(field))
            return True

    def text_in(self, key: bytes, name: object) -> T | None:
        """The text or number in a field of the map at a key; None if there is no such field, or if that holds a
        collection. O(1)."""
        field = known(name, self.encoding)
        self.check()
        with self._guard:
            found = self.value(key, KIND_MAP)
            value: Value | None = None
            if found is None or field is None:
                pass
            elif isinstance(found, dict):
                value = found.get(field)
            else:
                assert isinstance(found, (SplitMap, NestedMap))
                value = found.get(field)
        if isinstance(value, bytes) or isinstance(value, int):
            return cast("T", decoded(value, self.encoding))
        return None

    def assign_field(self, key: bytes, name: object, value: object) -> None:
        """Assign a field of the map at a key. O(1)."""
        field, given = encoded(name, self.encoding), encoded(value, self.encoding)
        self.check()
        with self._guard:
            self.value(key, KIND_MAP)
            self._put_field(key, field, given)

    def register(self, key: bytes) -> Scalar | None:
        """The value of the register at a key, None if absent. O(1)."""
        self.check()
        with self._guard:
            return self._register(key)

    def _register(self, key: bytes) -> Scalar | None:
        found = self.value(key, KIND_REGISTER)
        assert found is None or isinstance(found, bytes) or isinstance(found, int)
        return found

    def assign(self, key: bytes, value: object) -> None:
        """Assign the register at a key, whatever it holds. O(1)."""
        given = encoded(value, self.encoding)
        self.check()
        with self._guard:
            self.check()  # others do when they look: it may have been closed while this waited
            self._access.assign(key, given)

    def increment(self, key: bytes, amount: int, view: object) -> int:
        """Add to the number at a key; the sum as this node sees it. `view` is named where it is none. O(1)."""
        self.check()
        with self._guard:
            total = whole_number(self._register(key), view) + amount
            self._access.increment(key, amount, total)
            return total

    def item(self, key: bytes, index: int) -> T:
        """One element of the sequence at a key; raises `IndexError`. O(log n)."""
        self.check()
        with self._guard:
            found = self.sequence(key)
            if found is None:
                raise IndexError("sequence index out of range")
            value = found[index]
        return cast("T", decoded(value, self.encoding))

    def append(self, key: bytes, value: object) -> None:
        """Insert a value at the end of the sequence at a key. O(log n)."""
        given = encoded(value, self.encoding)
        self.check()
        with self._guard:
            self.sequence(key)
            self._put_last(key, given)

    def assign_slice(self, key: bytes, place: slice, given: object) -> None:
        """Put values in the place of a slice, taken without its step, of the sequence at a key. O(log n + runs that go
        + values)."""
        values = all_encoded(given, self.encoding)
        self.check()
        with self._guard:
            self.splice(key, place, values)

    def remove_at(self, key: bytes, index: int) -> None:
        """Remove one element of the sequence at a key; raises `IndexError`. O(log n)."""
        self.check()
        with self._guard:
            found = self.sequence(key)
            length = 0 if found is None else len(found)
            at = index + length if index < 0 else index
            if not 0 <= at < length:
                raise IndexError("sequence index out of range")
            self._splice(key, found, at, at + 1, [])
