"""`marmoset.open`: one replica in this process, and its keys (floor 10).

Consistency, for all views: a read shows what this node has, which is everything written here and whatever has arrived
from others, whole batches at a time. A write is visible here when the call returns, and everywhere soon after, in
causal order. Nobody waits for another node.
"""

import asyncio
import atexit
import os
import weakref
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Generic, Self, overload

from marmoset import build
from marmoset import config as options
from marmoset.api.background import Background
from marmoset.api.maps import MapView
from marmoset.api.registers import CounterView, RegisterView
from marmoset.api.sequences import SequenceView
from marmoset.api.sets import SetView
from marmoset.api.store import Given, Store, T
from marmoset.errors import NotServingError, OutOfMemoryError, UsageError, WrongTypeError

__all__ = ["Database", "NotServingError", "OutOfMemoryError", "WrongTypeError", "aopen", "open"]

OPEN_WAIT_S: Final = 30.0


class Database(Generic[T]):
    """One replica in this process. Made by `open`; safe to use from any thread.

    `T` is what values are returned as: `str`, or `bytes` where it was opened with `encoding=None`. Keys and values may
    be given as `str`, `bytes` or `int` in either case; an int is stored as its decimal text.

    Methods raise `WrongTypeError` for a key that holds another type, `NotServingError` when the node takes no reads or
    writes now, `OutOfMemoryError` when a write may take more memory and the keys take more than `maxmemory`,
    `UsageError` after `close`.
    """

    def __init__(self, background: Background, encoding: str | None) -> None:
        self._background = background
        self._runtime = background.runtime
        self._store: Store[T] = Store(background.runtime, encoding)
        _open_databases.add(self)

    # Views

    def set(self, key: Given) -> SetView[T]:
        """The set at a key, as a `MutableSet`."""
        return SetView(self._store, self._store.encode(key))

    def map(self, key: Given) -> MapView[T]:
        """The map at a key, as a `MutableMapping`."""
        return MapView(self._store, self._store.encode(key))

    def sequence(self, key: Given) -> SequenceView[T]:
        """The sequence at a key, as a `MutableSequence`."""
        return SequenceView(self._store, self._store.encode(key))

    def counter(self, key: Given) -> CounterView[T]:
        """The counter at a key: a register that is added to."""
        return CounterView(self._store, self._store.encode(key))

    def register(self, key: Given) -> RegisterView[T]:
        """The register at a key: one value."""
        return RegisterView(self._store, self._store.encode(key))

    # Keys

    def keys(self) -> list[T]:
        """All keys, as they are now, in no order that means anything. O(n)."""
        self._store.check()
        with self._store.lock:
            return list(map(self._store.decode, self._store.keyspace.keys()))

    def __contains__(self, key: object) -> bool:
        self._store.check()
        if not isinstance(key, (str, bytes, int)):
            return False
        encoded = self._store.encode(key)
        with self._store.lock:
            return encoded in self._store.keyspace

    def __len__(self) -> int:
        self._store.check()
        with self._store.lock:
            return len(self._store.keyspace)

    def delete(self, *keys: Given) -> int:
        """Remove keys of any type, at once; how many were there. What others write there at the same time stays."""
        encoded = [self._store.encode(key) for key in keys]
        with self._store.batch():
            return sum(map(self._store.reset, encoded))

    def batch(self) -> AbstractContextManager[None]:
        """Everything written inside the `with` block is one batch: nobody ever sees a part of it, here or elsewhere.

        Reads inside are all of one moment. Other threads and the exchange with other nodes wait meanwhile: keep it
        short, and do not `await` inside. It is no transaction: when the block raises, what it wrote before stays.
        A write that would take the batch above `batch_bytes_max` raises `UsageError`.
        """
        return self._store.batch()

    # The node

    @property
    def name(self) -> str:
        """The name of this node."""
        return self._runtime.config.name

    @property
    def address(self) -> str:
        """The `host:port` through which others can join."""
        return self._runtime.config.address

    @property
    def port(self) -> int | None:
        """The port for Redis clients; None if none was asked for."""
        return self._runtime.config.port or None

    def status(self) -> dict[str, str | int]:
        """What the node says of itself; the names are those of MARMOSET STATUS."""
        self._store.check()
        with self._store.lock:
            return self._runtime.node.status()

    def members(self) -> list[dict[str, str | int]]:
        """The members of the group as this node sees them; the names are those of MARMOSET MEMBERS."""
        self._store.check()
        with self._store.lock:
            return self._runtime.node.members()

    def report(self) -> list[dict[str, str | int]]:
        """What this node wrote, was then presumed dead, and could not submit by itself when it came back: a row for
        each operation, with `id`, `key`, `operation`, `stamp_ms`, `written_by` and `reason`. O(rows)."""
        self._store.check()
        with self._store.lock:
            rehabilitating = self._runtime.node.rehabilitating
            return rehabilitating.rows(len(rehabilitating.report))

    def replay(self, *ids: str) -> int:
        """Submit operations of the report after all, the first thousand where none is named; how many were.

        What somebody else has submitted meanwhile is left out: nothing is submitted twice.

        Raises:
            UsageError: an id is not in the report; nothing was changed.
            NotServingError: the node takes no writes now.
            OutOfMemoryError: the keys take more than `maxmemory`; nothing was changed.
        """
        with self._store.writing():
            return self._runtime.node.rehabilitating.replay(list(ids))

    def dismiss(self, *ids: str) -> int:
        """Take operations out of the report, all where none is named; how many were there.

        Raises:
            UsageError: an id is not in the report; nothing was changed.
        """
        self._store.check()
        with self._store.lock:
            return self._runtime.node.rehabilitating.dismiss(list(ids))

    def close(self) -> None:
        """Leave the group and end the node; more than once does no harm.

        Waits until the others are known to have everything, `leave_timeout` at most; a warning in the log says if that
        was not reached. The data of this replica is gone from this process.
        """
        if not self._store.closed:
            self._store.close("this database is closed")
            _open_databases.discard(self)
            self._background.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<marmoset.Database {self.name} at {self.address}{', closed' if self._store.closed else ''}>"


_open_databases: Final["weakref.WeakSet[Database[Any]]"] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for database in list(_open_databases):
        database.close()


@overload
def open(
    *,
    name: str | None = ...,
    join: str | Iterable[str] | None = ...,
    port: int | None = ...,
    encoding: str = ...,
    config_file: str | None = ...,
    wait_s: float = ...,
    **settings: object,
) -> Database[str]: ...
@overload
def open(
    *,
    name: str | None = ...,
    join: str | Iterable[str] | None = ...,
    port: int | None = ...,
    encoding: None,
    config_file: str | None = ...,
    wait_s: float = ...,
    **settings: object,
) -> Database[bytes]: ...
def open(
    *,
    name: str | None = None,
    join: str | Iterable[str] | None = None,
    port: int | None = None,
    encoding: str | None = "utf-8",
    config_file: str | None = None,
    wait_s: float = OPEN_WAIT_S,
    **settings: object,
) -> Database[str] | Database[bytes]:
    """Start a node in this process and wait until it serves.

    Args:
        name: the name of the node, one of its kind in the group; `node` unless given.
        join: addresses of members, `host:gossip_port`; left out, a group begins. A list without any is refused.
        port: a port for Redis clients beside the Python face, 0 for any free one; None opens none.
        encoding: how keys and values are returned as `str`; bytes that are not text in it come as surrogates, and go
            back as the same bytes. None returns `bytes`.
        config_file: a TOML file with options. Of the environment only `MARMOSET_BUILD` is looked at.
        wait_s: how long to wait until the node serves.
        settings: any other option of docs/configuration.md, as in `gossip_interval="100ms"`. `gossip_port` is any
            free port unless given.

    Raises:
        UsageError: an option is not accepted, or no member has let the node in within `wait_s`.
        MarmosetError: a port is in use.
    """
    given: dict[str, object] = dict(settings)
    if config_file is None:
        given.setdefault("gossip_port", 0)
    if name is not None:
        given["name"] = name
    if join is not None:
        given["join"] = join if isinstance(join, str) else list(join)
    given["port"] = port or 0
    build.check(os.environ)
    background = Background(options.load(given, None, config_file), clients=port is not None)
    background.start(wait_s)
    if encoding is None:
        return Database[bytes](background, None)
    return Database[str](background, encoding)


class _Opening:
    """What `aopen` returns: `async with` it, or `await` it."""

    def __init__(self, settings: dict[str, object]) -> None:
        self._settings = settings
        self._database: Database[str] | None = None

    async def _open(self) -> Database[str]:
        database: Database[str] = await asyncio.to_thread(open, **self._settings)  # type: ignore[arg-type]
        self._database = database
        return database

    def __await__(self) -> Generator[object, None, Database[str]]:
        return self._open().__await__()

    async def __aenter__(self) -> Database[str]:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._database is not None:
            await asyncio.to_thread(self._database.close)


def aopen(**settings: object) -> _Opening:
    """`open` for programs on asyncio: `async with marmoset.aopen(name="web-1") as db`.

    Opening and closing wait in a thread; reads and writes are the same plain calls, which never wait for the network.
    Takes the arguments of `open`, and returns values as `str`.

    Raises:
        UsageError: `encoding=None` was given; use `open` in a thread for values as bytes.
    """
    if settings.get("encoding", "") is None:
        raise UsageError("aopen returns values as str; for bytes, call open in a thread")
    return _Opening(settings)
