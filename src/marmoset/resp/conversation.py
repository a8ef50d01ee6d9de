"""What a shell needs of one client's conversation (floor 8): bytes in, bytes out.

A class and no protocol of typing: compiled code then reads its attributes and calls its methods without a look-up by
name, which for short requests shows.
"""

from collections.abc import Callable

from marmoset.build import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Conversation:
    """One client of a server. Called under the runtime's lock."""

    __slots__ = ("closing", "delay_ms", "on_ready")

    def __init__(self) -> None:
        self.closing = False
        """The connection is to be closed after the answers."""
        self.delay_ms = 0
        """For how long the answers that were given last are to be held back, since they wrote."""
        self.on_ready: Callable[[], None] = _nothing
        """Called when `resume` has something to give; not from within `receive`."""

    @property
    def is_blocked(self) -> bool:
        """Whether an answer is deferred: nothing may be received until `resume` has given it. O(1)."""
        return False

    @property
    def is_between_requests(self) -> bool:
        """Whether the bytes that come next begin a request, so that `receive_whole` may be called instead of `receive`.
        O(1)."""
        return False

    def receive(self, data: bytes) -> bytes:
        """Run the requests that `data` completes; their answers. Not while it is blocked. O(requests)."""
        raise NotImplementedError

    def receive_whole(self, requests: list[list[bytes]], size: int) -> bytes:
        """The same for requests that were parsed already, from so many bytes. Where it is between requests only."""
        raise NotImplementedError

    def resume(self) -> bytes:
        """The answer that was deferred, if it is there, and those to what came behind it. O(requests)."""
        raise NotImplementedError

    def close(self) -> None:
        """The connection is gone."""


def _nothing() -> None:
    """For a conversation whose shell does not want to know."""
