"""Huge pages for the memory of a process (floor 9).

Objects of a large keyspace are looked up all over memory. In pages of 4 KiB the processor has to translate nearly each
address anew, in a virtual machine at twice the cost; in pages of 2 MiB it knows most translations. Python takes memory
from the system in pieces that are too small for those (1 MiB), and a huge page that the kernel makes at the moment of a
write holds up who writes.

So what is filled already is collapsed afterwards, from a thread of its own (`madvise` with MADV_COLLAPSE, Linux 6.1).
The kernel copies 512 pages into one, which takes some 0.2 ms, and who asks it for memory meanwhile waits; so they are
made one at a time, with rests of `REST` times as long as each took. Where much was never touched, as in the stacks of
threads, nothing is done: it would take memory that nobody uses.

In a virtual machine whose host has to find the memory for each anew, one takes several milliseconds, and all processors
of the machine may stand still for some ten (seen: loops were called up to 80 ms late, 10 without huge pages). Where
`LOOK` in a row took more than `SLOW_S` in the mean, no more are made.

Where an administrator has said that there are to be no huge pages, the kernel is older, or huge pages are so large that
one copy would be noticed, nothing is done at all.
"""

import ctypes
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any, Final, final

SETTINGS: Final = Path("/sys/kernel/mm/transparent_hugepage")
PROCESS: Final = Path("/proc/self")
FORBIDDEN: Final = "[never]"
HUGE_BYTES_MAX: Final = 4 << 20
"""Larger ones, as some processors have them, take too long to copy at once."""
PAGE_BYTES: Final = resource.getpagesize()
GROWN_BYTES: Final = 4 << 20
GROWN_SHARE: Final = 16
"""Memory is gone through again once there are more of it than `GROWN_BYTES`, and one part in so many."""
STEP_HUGE_PAGES: Final = 16
"""So many are looked at in one call of the system."""
REST: Final = 15
MADE_S: Final = 0.00005
"""What took less was a huge page already, and needs no rest."""
LOOK: Final = 64
SLOW_S: Final = 0.001
FILLED_PERCENT: Final = 85
"""Of a huge page has to be in memory already."""

_MADV_COLLAPSE: Final = 25
_IN_MEMORY: Final = bytes(number & 1 for number in range(256))


@final
class HugePages:
    """What collapses the memory of this process. Not for several threads at once."""

    __slots__ = (
        "_clock",
        "_huge_bytes",
        "_made",
        "_process",
        "_seen_bytes",
        "_system",
        "_took_s",
        "is_possible",
        "is_slow",
        "stopped",
    )

    def __init__(
        self,
        settings: Path = SETTINGS,
        process: Path = PROCESS,
        system: Any = None,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`settings` and `process` are folders of the system, `system` has its calls, `clock` has seconds of processor
        time of a thread: for tests."""
        self._process = process
        self._clock = clock
        self.stopped = Event()
        """Set by `stop`; a `collapse` rests on it."""
        self._seen_bytes = 0
        self._huge_bytes = 0
        self.is_possible = False
        """Whether this system can do it, and may, fast enough, and nobody has said `stop`."""
        self.is_slow = False
        """Whether it was stopped since this takes too long here."""
        self._made = 0
        self._took_s = 0.0
        try:
            if FORBIDDEN in (settings / "enabled").read_text(encoding="ascii"):
                return
            self._huge_bytes = int((settings / "hpage_pmd_size").read_bytes())
            self._system = ctypes.CDLL(None) if system is None else system
        except (OSError, ValueError):  # it is no Linux, or one that was built without them
            return
        # Of nothing: whether the kernel knows what is asked.
        self.is_possible = self._huge_bytes <= HUGE_BYTES_MAX and self._madvise(0, 0)

    def has_grown(self) -> bool:
        """Whether the process takes so much more memory than at the last `collapse`, or at a look since then, that
        another one is worth it. O(1), some 50 µs."""
        if not self.is_possible:
            return False
        bytes_now = self._resident_bytes()
        self._seen_bytes = min(self._seen_bytes, bytes_now)
        return bytes_now - self._seen_bytes > max(GROWN_BYTES, bytes_now // GROWN_SHARE)

    def collapse(self) -> int:
        """Put what is filled into huge pages, where there are such: bytes of which the system says that they are, be it
        since before. O(memory): 0.2 ms or more for each huge page that is made, a hundredth of that for the others.
        Rests come to that. Other threads may run."""
        if not self.is_possible:
            return 0
        self._seen_bytes = self._resident_bytes()
        done = 0
        for start, end in self._writable():
            for first in range(start, end, STEP_HUGE_PAGES * self._huge_bytes):
                if not self.is_possible:
                    return done
                done += self._collapse_within(first, min(first + STEP_HUGE_PAGES * self._huge_bytes, end))
        return done

    def stop(self) -> None:
        """Have a `collapse` that is going on in another thread end soon, and do nothing any more. O(1)."""
        self.is_possible = False
        self.stopped.set()

    def _resident_bytes(self) -> int:
        return int((self._process / "statm").read_bytes().split()[1]) * PAGE_BYTES

    def _writable(self) -> Iterator[tuple[int, int]]:
        """Memory that no file is behind, as far as it is whole huge pages: first address, and that behind the last."""
        huge_bytes = self._huge_bytes
        for line in (self._process / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
            area, rights, _, _, _, *name = line.split(maxsplit=5)
            if rights == "rw-p" and (not name or name[0] == "[heap]"):
                first, behind = (int(address, 16) for address in area.split("-"))
                start, end = -(-first // huge_bytes) * huge_bytes, behind // huge_bytes * huge_bytes
                if start < end:
                    yield start, end

    def _collapse_within(self, start: int, end: int) -> int:
        pages, stride = (end - start) // PAGE_BYTES, self._huge_bytes // PAGE_BYTES
        looked = ctypes.create_string_buffer(pages)
        if self._system.mincore(ctypes.c_void_p(start), ctypes.c_size_t(end - start), looked) != 0:
            return 0  # it is not there any more
        here = looked.raw.translate(_IN_MEMORY)
        enough = stride * FILLED_PERCENT // 100
        done = 0
        for first in range(0, pages, stride):
            if not self.is_possible:
                break
            if here.count(1, first, first + stride) >= enough:
                began = self._clock()
                if self._madvise(start + first * PAGE_BYTES, self._huge_bytes):
                    done += self._huge_bytes
                took_s = self._clock() - began
                if took_s > MADE_S:
                    self._look(took_s)
                    self.stopped.wait(REST * took_s)
        return done

    def _look(self, took_s: float) -> None:
        """One more was made, or was to be made, in so much time."""
        self._made += 1
        self._took_s += took_s
        if self._made == LOOK:
            if self._took_s > LOOK * SLOW_S:
                self.is_slow = True
                self.stop()
            self._made, self._took_s = 0, 0.0

    def _madvise(self, start: int, size: int) -> bool:
        """Whether all of it is in huge pages now. Where that fails, for want of room or since it is gone, it stays as
        it is."""
        return bool(self._system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_COLLAPSE) == 0)
