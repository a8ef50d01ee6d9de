"""What a server process does beside serving."""

import subprocess
import sys

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
