"""Memory in huge pages: what is filled, and nothing else; where the system can, and may."""

import asyncio
import ctypes
import io
import mmap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset import logs
from marmoset.runtime.huge_pages import (
    FILLED_PERCENT,
    LOOK,
    MADE_S,
    PAGE_BYTES,
    PROCESS,
    REST,
    SETTINGS,
    SLOW_S,
    STEP_HUGE_PAGES,
    HugePages,
)
from marmoset.serve import _collapse_often

HUGE_BYTES = 8 * PAGE_BYTES
ENOUGH = 8 * FILLED_PERCENT // 100
MIB = 1 << 20


def _nothing() -> None:
    pass


class System:
    """Calls of a system, in which so many pages of each huge page from `start` on are in memory."""

    def __init__(self, start: int = 0, filled: Sequence[int] = (), *, knows_how: bool = True) -> None:
        self.start = start
        self.filled = filled
        self.knows_how = knows_how
        self.failing: set[int] = set()
        self.gone: set[int] = set()
        self.asked: list[tuple[int, int]] = []
        self.looked: list[int] = []
        self.on_look: Callable[[], None] = _nothing
        self.now_s = 0.0
        self.takes_s: list[float] = []
        """Of one huge page after the other, from the first that is asked for; none after that."""

    def mincore(self, address: ctypes.c_void_p, size: ctypes.c_size_t, found: Any) -> int:
        at = address.value or 0
        self.looked.append(size.value)
        self.on_look()
        if at in self.gone:
            return -1
        first = (at - self.start) // HUGE_BYTES
        for number in range(size.value // HUGE_BYTES):
            for page in range(8):  # what the upper bits say is not defined
                found[8 * number + page] = 0xF1 if page < self.filled[first + number] else 0xF0
        return 0

    def madvise(self, address: ctypes.c_void_p, size: ctypes.c_size_t, advice: int) -> int:
        assert advice == 25
        if size.value:
            self.asked.append((address.value or 0, size.value))
            self.now_s += self.takes_s.pop(0) if self.takes_s else 0
        return 0 if self.knows_how and address.value not in self.failing else -1


def folders(path: Path, maps: str = "", resident_pages: int = 1, setting: str = "always [madvise] never") -> Path:
    (path / "enabled").write_text(setting)
    (path / "hpage_pmd_size").write_text(f"{HUGE_BYTES}\n")
    (path / "maps").write_text(maps)
    (path / "statm").write_text(f"1000000 {resident_pages} 7 1 0 9 0\n")
    return path


def pages_of(path: Path, system: System) -> HugePages:
    return HugePages(path, path, system, lambda: system.now_s)


class Rests(threading.Event):
    """What is rested on, for no time at all, and for how long it was to be."""

    def __init__(self, on_rest: Callable[[], None] = _nothing) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.on_rest = on_rest

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        self.on_rest()
        return self.is_set()


def area(start: int, end: int, rights: str = "rw-p", name: str = "") -> str:
    return f"{start:x}-{end:x} {rights} 00000000 00:00 0 {name}\n"


@given(st.lists(st.integers(0, 8), min_size=1, max_size=3 * STEP_HUGE_PAGES), st.integers(0, 2), st.integers(0, 2))
def test_what_is_filled_is_collapsed_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, filled: list[int], before: int, behind: int
) -> None:
    start = 100 * HUGE_BYTES
    end = start + len(filled) * HUGE_BYTES
    system = System(start, filled)
    maps = area(start - before * PAGE_BYTES, end + behind * PAGE_BYTES)
    pages = pages_of(folders(tmp_path_factory.mktemp("system"), maps), system)
    done = pages.collapse()
    assert all(size == HUGE_BYTES for _, size in system.asked), "who wants memory waits for several"
    collapsed = [at for at, _ in system.asked]
    assert collapsed == [start + at * HUGE_BYTES for at, count in enumerate(filled) if count >= ENOUGH]
    assert done == len(collapsed) * HUGE_BYTES
    assert max(system.looked) <= STEP_HUGE_PAGES * HUGE_BYTES


def test_only_private_memory_without_a_file_is_looked_at(tmp_path: Path) -> None:
    start, end = 8 * HUGE_BYTES, 10 * HUGE_BYTES
    others = [
        area(start, end, "r--p"),
        area(start, end, "rw-s"),
        area(start, end, name="[stack]"),
        area(start, end, name="/tmp/a file (deleted)"),
        area(start + 1, start + HUGE_BYTES),  # no whole one
    ]
    system = System(start, [8, 8])
    assert pages_of(folders(tmp_path, "".join(others)), system).collapse() == 0 and not system.looked
    assert pages_of(folders(tmp_path, area(start, end, name="[heap]")), system).collapse() == 2 * HUGE_BYTES


def test_who_is_told_to_stop_does(tmp_path: Path) -> None:
    start, step = 16 * HUGE_BYTES, STEP_HUGE_PAGES * HUGE_BYTES
    system = System(start, [8] * (3 * STEP_HUGE_PAGES))
    pages = pages_of(folders(tmp_path, area(start, start + 3 * step)), system)
    system.on_look = pages.stop
    assert pages.collapse() == 0 and not system.asked and system.looked == [step]
    assert not pages.has_grown() and pages.collapse() == 0


def test_who_is_told_to_stop_makes_no_more(tmp_path: Path) -> None:
    start = 16 * HUGE_BYTES
    system = System(start, [8] * 5)
    pages = pages_of(folders(tmp_path, area(start, start + 5 * HUGE_BYTES)), system)
    system.takes_s = [1, 1, 1, 1, 1]
    pages.stopped = rests = Rests(lambda: pages.stop() if len(rests.seconds) == 2 else None)
    assert pages.collapse() == 2 * HUGE_BYTES == HUGE_BYTES * len(rests.seconds) == HUGE_BYTES * len(system.asked)


def test_it_rests_many_times_as_long_as_a_huge_page_took_and_not_for_those_that_were_made(tmp_path: Path) -> None:
    start = 16 * HUGE_BYTES
    system = System(start, [8, 8, 0, 8, 8])
    pages = pages_of(folders(tmp_path, area(start, start + 5 * HUGE_BYTES)), system)
    system.takes_s = [0.25, MADE_S / 2, 2 * MADE_S, 2.0]
    system.failing = {start + 3 * HUGE_BYTES}
    pages.stopped = rests = Rests()
    assert pages.collapse() == 3 * HUGE_BYTES
    took_s = [0.25, 2 * MADE_S, 2.0]  # one of them in vain, which is time all the same
    assert rests.seconds == pytest.approx([REST * each for each in took_s])


def of_many(path: Path, takes_s: list[float]) -> tuple[System, HugePages]:
    start = 16 * HUGE_BYTES
    system = System(start, [8] * (len(takes_s) + 1))
    system.takes_s = list(takes_s)
    pages = pages_of(folders(path, area(start, start + (len(takes_s) + 1) * HUGE_BYTES), 1_000_000), system)
    pages.stopped = Rests()
    return system, pages


def test_no_more_are_made_where_they_take_long(tmp_path: Path) -> None:
    system, pages = of_many(tmp_path, [0.9 * SLOW_S] * LOOK + [0, 3 * SLOW_S] * LOOK + [0] * LOOK)
    assert pages.collapse() == 3 * LOOK * HUGE_BYTES == len(system.asked) * HUGE_BYTES
    assert pages.is_slow and not pages.is_possible and not pages.has_grown() and pages.collapse() == 0


def test_a_few_that_take_long_are_of_no_account(tmp_path: Path) -> None:
    several = [*[0.9 * SLOW_S] * (2 * LOOK), *[100 * SLOW_S] * (LOOK - 1)]
    _, pages = of_many(tmp_path, several)
    assert pages.collapse() == (len(several) + 1) * HUGE_BYTES
    assert pages.is_possible and not pages.is_slow


def test_a_process_says_why_it_makes_no_more(tmp_path: Path) -> None:
    _, pages = of_many(tmp_path, [2 * SLOW_S] * (2 * LOOK))
    told = io.StringIO()
    logs.configure("human", "info", told)
    asyncio.run(asyncio.wait_for(_collapse_often(pages, 0.001), 30))
    assert "no more huge pages" in told.getvalue()


def test_a_rest_ends_when_it_is_told_to_stop(tmp_path: Path) -> None:
    start = 16 * HUGE_BYTES
    system = System(start, [8] * 2)
    pages = pages_of(folders(tmp_path, area(start, start + 2 * HUGE_BYTES)), system)
    system.takes_s = [1000.0]
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(pages.collapse()))
    thread.start()
    while not system.asked:
        thread.join(0.001)
    pages.stop()
    thread.join(30)
    assert done == [HUGE_BYTES]


def test_huge_pages_that_are_too_large_are_left_alone(tmp_path: Path) -> None:
    (folders(tmp_path) / "hpage_pmd_size").write_text("33554432\n")
    assert not pages_of(tmp_path, System()).is_possible


def test_what_fails_is_left_and_the_rest_goes_on(tmp_path: Path) -> None:
    start, step = 16 * HUGE_BYTES, STEP_HUGE_PAGES * HUGE_BYTES
    system = System(start, [8] * (3 * STEP_HUGE_PAGES))
    system.failing = {start}
    system.gone = {start + step}
    assert pages_of(folders(tmp_path, area(start, start + 3 * step)), system).collapse() == 2 * step - HUGE_BYTES
    asked = [*range(start, start + step, HUGE_BYTES), *range(start + 2 * step, start + 3 * step, HUGE_BYTES)]
    assert [at for at, _ in system.asked] == asked


@pytest.mark.parametrize("setting", ["always madvise [never]", None])
def test_nothing_is_done_where_it_is_forbidden_or_unknown(tmp_path: Path, setting: str | None) -> None:
    folders(tmp_path, area(0, 8 * HUGE_BYTES), resident_pages=1_000_000, setting=setting or "")
    if setting is None:
        (tmp_path / "enabled").unlink()
    system = System(0, [8] * 8)
    pages = pages_of(tmp_path, system)
    assert not pages.is_possible and not pages.has_grown() and pages.collapse() == 0 and not system.looked


def test_nothing_is_done_by_a_kernel_that_cannot(tmp_path: Path) -> None:
    system = System(0, [8] * 8, knows_how=False)
    pages = pages_of(folders(tmp_path, area(0, 8 * HUGE_BYTES), resident_pages=1_000_000), system)
    assert not pages.is_possible and not pages.has_grown() and pages.collapse() == 0 and not system.asked


def test_memory_is_gone_through_when_it_has_grown(tmp_path: Path) -> None:
    def has_grown(mib: int) -> bool:
        folders(tmp_path, resident_pages=mib * MIB // PAGE_BYTES)
        return pages.has_grown()

    folders(tmp_path)
    pages = pages_of(tmp_path, System())
    assert not has_grown(4) and has_grown(6)
    pages.collapse()
    assert not has_grown(6) and not has_grown(10) and has_grown(11)
    assert has_grown(1000)
    pages.collapse()
    assert not has_grown(1060) and has_grown(1080)
    assert not has_grown(500)  # given back, and taken again
    assert not has_grown(530) and has_grown(540)


def private(mib: int) -> mmap.mmap:
    return mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def huge_bytes_of_this_process() -> int:
    lines = (PROCESS / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages:"))


def test_the_real_system_collapses_what_is_filled_and_fills_nothing() -> None:
    memory, sparse = private(16), private(16)
    for at in range(0, len(memory), PAGE_BYTES):
        memory[at : at + 4] = b"%04d" % (at // PAGE_BYTES)
    for at in range(0, len(sparse), 4 * MIB):
        sparse[at] = 1
    pages = HugePages()
    done = pages.collapse()
    assert done <= huge_bytes_of_this_process()  # there may be no room for any
    assert [memory[at : at + 4] for at in range(0, len(memory), PAGE_BYTES)] == [b"%04d" % at for at in range(4096)]
    here = (ctypes.c_char * (len(sparse) // PAGE_BYTES))()
    address = ctypes.addressof(ctypes.c_char.from_buffer(sparse))
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(sparse)), here) == 0
    touched = sum(each[0] & 1 for each in here)
    settings = SETTINGS / "enabled"
    is_always = settings.exists() and "[always]" in settings.read_text()
    assert touched == 4 or (is_always and touched <= 4 * 512)


def test_a_process_goes_through_its_memory_beside_the_loop(tmp_path: Path) -> None:
    start = 8 * HUGE_BYTES
    system = System(start, [8])
    pages = pages_of(folders(tmp_path, area(start, start + HUGE_BYTES), resident_pages=10_000), system)

    async def run() -> None:
        task = asyncio.create_task(_collapse_often(pages, 0.001))
        while not system.asked:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert system.asked == [(start, HUGE_BYTES)], "memory that has not grown is gone through again"


def test_a_process_that_may_not_look_does_without(tmp_path: Path) -> None:
    pages = pages_of(folders(tmp_path, resident_pages=10_000), System())
    (tmp_path / "maps").unlink()
    told = io.StringIO()
    logs.configure("human", "info", told)
    asyncio.run(asyncio.wait_for(_collapse_often(pages, 0.001), 30))
    assert "no huge pages" in told.getvalue()


def test_a_process_that_cannot_does_not_look() -> None:
    asyncio.run(asyncio.wait_for(_collapse_often(HugePages(Path("/nowhere")), 0.001), 30))
