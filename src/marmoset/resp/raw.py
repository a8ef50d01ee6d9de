"""Replies that are encoded already (floor 8). By itself, since mypyc compiles no class that inherits from `bytes`."""

from typing import final


@final
class Raw(bytes):
    """A reply that is encoded already, the same in both protocols."""

    __slots__ = ()
