"""An exception in the middle of a call, as Ctrl-C raises one, leaves the lock free, and nothing by half."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import marmoset
from marmoset.errors import NotServingError, UsageError

SETTINGS: dict[str, Any] = {"gossip_interval": "20ms", "leave_timeout": "1s"}


class Interrupted(Exception):
    """What the signal handler of a test raises."""


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def interrupted(times: int, call: Callable[[], object], behind: Callable[[], object]) -> None:
    """Call again and again until a signal handler raises, and then something else; so many times."""
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(times):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.0003))
                while True:
                    call()
            except Interrupted:
                pass
            behind()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_call_that_is_interrupted_gives_the_lock_back() -> None:
    with marmoset.open(name="alone") as db:
        elements = db.set("s")
        elements.add("a")
        lock = db._store.lock

        def is_free() -> None:
            assert not lock._is_owned()  # type: ignore[attr-defined]

        interrupted(300, lambda: "a" in elements, is_free)


def test_a_write_that_was_broken_off_ends_the_node_and_is_sent_to_nobody() -> None:
    with marmoset.open(name="a", **SETTINGS) as a, marmoset.open(name="b", join=[a.address], **SETTINGS) as b:
        a.set("s").add("whole")
        until(lambda: "whole" in b.set("s"))

        def broken(*_: object) -> None:
            raise KeyboardInterrupt

        a._runtime.node.replica.listener = broken
        with pytest.raises(KeyboardInterrupt):
            a.set("s").add("half")
        for _ in range(2):
            with pytest.raises(NotServingError, match="a write was broken off"):
                a.set("s").add("another")
        with pytest.raises(NotServingError, match="a write was broken off"):
            len(a.set("s"))
        a._background._thread.join(20)
        assert not a._background._thread.is_alive()
        with pytest.raises(NotServingError, match="a write was broken off"):
            len(a.set("s"))
        b.set("s").add("more")
        assert set(b.set("s")) == {"whole", "more"}


def test_what_is_refused_breaks_nothing_off() -> None:
    with marmoset.open(name="alone", batch_bytes_max="64kb") as db:
        with pytest.raises(UsageError, match="nothing was written"):
            db.set("s").add("x" * 70_000)
        db.set("s").add("x")
        assert len(db.set("s")) == 1


INTERRUPTED_WRITES = """
import contextlib
import marmoset
from marmoset.errors import NotServingError
from tests.test_api_access import interrupted

dbs = [marmoset.open(name="alone")]

def write():
    with contextlib.suppress(NotServingError):
        dbs[-1].sequence("l").append("x")

def open_anew():
    try:
        len(dbs[-1].sequence("l"))
    except NotServingError:
        dbs.append(marmoset.open(name="alone"))

interrupted(60, write, open_anew)
print("through")
"""


def test_writes_that_are_interrupted_do_not_end_the_process() -> None:
    words = [sys.executable, "-c", INTERRUPTED_WRITES]
    ended = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and ended.stdout == "through\n", ended.stderr


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
