"""What a server process does beside serving."""

import asyncio
import gc
import subprocess
import sys

from marmoset.serve import _collect_often

PROGRAM = """
import gc
from marmoset.keyspace import Keyspace
from marmoset.serve import _collect_young_garbage_only

gc.collect()
gc.disable()
keyspace = Keyspace(100)
_collect_young_garbage_only()
assert gc.isenabled() and gc.get_freeze_count() > 1024
assert all(gc.is_tracked(slots.values) for slots in keyspace.shards)
assert not any(each is keyspace.shards[0].values for each in gc.get_objects())
"""


def test_tables_are_never_visited_by_the_garbage_collector() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_young_objects_are_visited_though_as_many_old_ones_are_freed() -> None:
    """Python's own count says that there are none."""

    async def young_after(seconds: float) -> bool:
        collecting = asyncio.create_task(_collect_often(seconds / 10))
        new: list[object] = [[]]
        await asyncio.sleep(seconds)
        collecting.cancel()
        return any(each is new for each in gc.get_objects(generation=0))

    gc.disable()
    try:
        assert not asyncio.run(young_after(0.1))
    finally:
        gc.enable()


def test_a_python_without_ctypes_serves_without_huge_pages() -> None:
    program = "import sys; sys.modules['ctypes'] = None; from marmoset import serve; assert serve._huge_pages() is None"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
