"""Sets that the garbage collector does not visit (floor 1).

Each full collection visits every element of every set, 75 ms for a million; of a dict whose keys and values can refer
to nothing, CPython sees that it need not. A set of bytes can be part of no cycle either, so the collector is told. The
set is freed as ever, when the last reference to it goes.

CPython alone has the call, part of its stable interface, and a Python may be built without ctypes: elsewhere nothing is
done.
"""

from typing import Any

try:
    from ctypes import py_object, pythonapi
except ImportError:
    _untrack: Any = None
else:
    _untrack = pythonapi["PyObject_GC_UnTrack"]  # not the attribute, which all users of `pythonapi` share
    _untrack.argtypes = [py_object]
    _untrack.restype = None


def untracked(elements: set[bytes]) -> set[bytes]:
    """The same set, which the garbage collector does not visit any more. O(1).

    What is put in must refer to nothing, as bytes do: a cycle through it would never be freed.
    """
    if _untrack is not None:
        _untrack(elements)
    return elements
