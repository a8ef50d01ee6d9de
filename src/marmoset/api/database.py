"""`marmoset.open`: one replica in this process, and its keys (floor 10).

Consistency, for all views: a read shows what this node has, which is everything written here and whatever has arrived
from others, whole batches at a time. A write is visible here when the call returns, and everywhere soon after, in
causal order. Nobody waits for another node.
"""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Generic, Self, overload

from marmoset import build
from marmoset import config as options
from marmoset.api.background import Background
from marmoset.api.encodings import checked_encoding
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
        _running.add(background)

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
        known = self._store.known(key)
        with self._store.lock:
            return known is not None and known in self._store.keyspace

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
            return self._runtime.node.rehabilitating.replay(_checked_ids(ids))

    def dismiss(self, *ids: str) -> int:
        """Take operations out of the report, all where none is named; how many were there.

        Raises:
            UsageError: an id is not in the report; nothing was changed.
        """
        self._store.check()
        with self._store.lock:
            return self._runtime.node.rehabilitating.dismiss(_checked_ids(ids))

    def close(self) -> None:
        """Leave the group and end the node; more than once does no harm.

        Waits until the others are known to have everything, `leave_timeout` at most; a warning in the log says if that
        was not reached. The data of this replica is gone from this process.

        Raises:
            UsageError: this is inside of a batch, which the others cannot have before it ends; nothing was changed.
        """
        if not self._store.closed:
            self._store.refuse_in_batch()
            self._store.close("this database is closed")
            _running.discard(self._background)
            self._background.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<marmoset.Database {self.name} at {self.address}{', closed' if self._store.closed else ''}>"


def _checked_ids(ids: tuple[object, ...]) -> list[str]:
    """Ids of the report, as they are given; raises `UsageError` for what is none."""
    for each in ids:
        if not isinstance(each, str):
            raise UsageError(f"{each!r} is no id of the report, which are texts; nothing was changed")
    return [str(each) for each in ids]


_running: Final["weakref.WeakSet[Background]"] = weakref.WeakSet()
"""What is to leave when the program ends. Each is held by its thread, whoever still has its `Database`."""


@atexit.register
def _stop_all() -> None:
    for background in list(_running):
        background.stop()


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
            back as the same bytes. It has to contain ASCII and to give back any bytes, as UTF-8 and Latin-1 do, and
            UTF-16 does not. None returns `bytes`.
        config_file: a TOML file with options. Of the environment only `MARMOSET_BUILD` is looked at.
        wait_s: how long to wait until the node serves, in seconds.
        settings: any other option of docs/configuration.md, as in `gossip_interval="100ms"`. Without a `config_file`,
            `gossip_port` is any free port unless given; with one, it is what the file says, or 7946.

    Raises:
        UsageError: an option is not accepted, or no member has let the node in within `wait_s`.
        MarmosetError: a port is in use.
    """
    if encoding is not None:
        encoding = checked_encoding(encoding)
    if not isinstance(wait_s, (int, float)) or not 0 <= wait_s <= threading.TIMEOUT_MAX:
        raise UsageError(f"wait_s: {wait_s!r} is not accepted; it takes seconds, from 0 to {threading.TIMEOUT_MAX:.0f}")
    if config_file is not None and not isinstance(config_file, (str, os.PathLike)):
        raise UsageError(f"config_file: {config_file!r} is not accepted; it takes the path of a TOML file")
    given: dict[str, object] = dict(settings)
    if config_file is None:
        given.setdefault("gossip_port", 0)
    if name is not None:
        given["name"] = name
    if join is not None:
        given["join"] = list(join) if isinstance(join, Iterable) and not isinstance(join, str) else join
    given["port"] = port or 0
    build.check(os.environ)
    background = Background(options.load(given, None, config_file), clients=port is not None)
    background.start(wait_s)
    if encoding is None:
        return Database[bytes](background, None)
    return Database[str](background, encoding)


class _Handover:
    """A database on its way from the thread that opens it to a task, which may be cancelled meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: Database[str] | None = None
        self._is_given_up = False

    def open(self, settings: dict[str, object]) -> Database[str]:
        """In the thread: open it, and close it if nobody waits for it any more."""
        database: Database[str] = open(**settings)  # type: ignore[call-overload]
        with self._lock:
            self._database = database
            is_given_up = self._is_given_up
        if is_given_up:
            database.close()
        return database

    def give_up(self) -> None:
        """In the task: nobody is going to take it. Does not wait."""
        with self._lock:
            self._is_given_up = True
            late = self._database
        if late is not None:  # else the thread sees it
            threading.Thread(target=late.close, name="marmoset closing").start()


class _Opening:
    """What `aopen` returns: `async with` it, or `await` it."""

    def __init__(self, settings: dict[str, object]) -> None:
        self._settings = settings
        self._database: Database[str] | None = None

    async def _open(self) -> Database[str]:
        handover = _Handover()
        try:
            self._database = await asyncio.to_thread(handover.open, self._settings)
        except asyncio.CancelledError:
            handover.give_up()
            raise
        return self._database

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
