"""Errors, typed by culprit (floor 0).

Every error says who has to act (the user, a peer, or us) and whether anything was changed before it was raised, so
that a caller knows whether to try again. Texts that go to a Redis client live in `resp.errors`, not here.
"""

from typing import Final

BROKEN_OFF: Final = "a write was broken off by an exception, such as KeyboardInterrupt, in the middle of it"
"""Why a node ends: what a program or a client did is there by half, and nobody can say which half. Nothing that was
written since the last batch is sent then."""


class MarmosetError(Exception):
    """The base of all errors that marmoset raises on purpose.

    `changed` is True when the state of the database may have changed before the error was raised.
    """

    def __init__(self, message: str, *, changed: bool = False) -> None:
        super().__init__(message)
        self.changed = changed


class UsageError(MarmosetError):
    """The caller asked for something that cannot be done; the message says what to do instead."""


class WrongTypeError(UsageError):
    """The key holds a value of another type; nothing was changed."""


class NotServingError(MarmosetError):
    """The node does not take this now: it has left, was presumed dead, or its clock is wrong; nothing was changed."""


class OutOfMemoryError(MarmosetError):
    """The keys take more than `maxmemory`, and the write may take more; `changed` says whether a part was written."""


class PeerError(MarmosetError):
    """Another node sent something that no correct node sends; the link is closed and nothing of it is kept."""


class InternalError(MarmosetError):
    """A rule of the design was broken here: our own bug."""

    def __init__(self, message: str, *, changed: bool = True) -> None:
        super().__init__(message, changed=changed)
