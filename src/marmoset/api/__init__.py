"""The Python face: a replica in this process, at memory speed (floor 10).

    with marmoset.open(name="web-1", join=["10.0.0.5:7946"]) as db:
        db.set("online").add("ada")
        db.map("profile:ada")["city"] = "Turin"
        db.counter("hits").increment(3)
        db.sequence("todo").append("write")

A node runs in a background thread; what a program reads and writes is that node's own memory. Values are read under one
lock, in the calling thread. A write is applied before the call returns, and goes to the other nodes in the next turn of
the background loop. See `Database` for what a concurrent writer can do to you.
"""

from marmoset.api.database import Database, NotServingError, OutOfMemoryError, WrongTypeError, aopen, open
from marmoset.api.maps import MapView
from marmoset.api.registers import CounterView, RegisterView
from marmoset.api.sequences import SequenceView
from marmoset.api.sets import SetView

__all__ = [
    "CounterView",
    "Database",
    "MapView",
    "NotServingError",
    "OutOfMemoryError",
    "RegisterView",
    "SequenceView",
    "SetView",
    "WrongTypeError",
    "aopen",
    "open",
]
