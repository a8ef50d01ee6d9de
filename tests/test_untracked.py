"""What the garbage collector does not visit is freed all the same."""

import gc
import subprocess
import sys
import weakref

from marmoset.untracked import untracked


def test_a_set_is_the_same_and_not_visited() -> None:
    made = {b"a"}
    assert gc.is_tracked(made)
    same = untracked(made)
    assert same is made and not gc.is_tracked(made)
    assert untracked(made) == {b"a"}  # once more does nothing
    made.update(b"%d" % number for number in range(10_000))
    gc.collect()
    assert not gc.is_tracked(made) and len(made) == 10_001


def test_a_set_is_freed_with_its_last_reference() -> None:
    for size in (0, 3, 1000):
        made = untracked({b"%d" % number for number in range(size)})
        gone = weakref.ref(made)
        gc.collect()
        assert gone() is made
        del made
        assert gone() is None


def test_without_ctypes_sets_stay_as_they_are() -> None:
    program = (
        "import sys, gc; sys.modules['ctypes'] = None; from marmoset.untracked import untracked; "
        "made = untracked({b'a'}); print(made, gc.is_tracked(made))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "{b'a'} True"
