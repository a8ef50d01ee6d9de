"""What the log is told again, and what not (floor 9).

Whoever dials does so again and again, and finds the same trouble each time: one line a minute is news, the others only
fill disks. The same is the same words about the same peer; numbers count as equal, since offsets and times differ from
one try to the next. Not more than `TOLD_MAX` are remembered.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, final

from marmoset.logs import described

QUIET_S: Final = 60.0
"""For how long the same trouble with the same peer is not told again."""
TOLD_MAX: Final = 256
REPEATED: Final = frozenset(
    {
        "a link was refused",
        "cannot join",
        "join address cannot be used, still trying",
        "join address does not answer, still trying",
        "not let in",
        "refused a link",
    }
)
"""What a node says at each try, its own or a peer's."""
_PEER_FIELDS: Final = ("address", "peer", "by")
_NUMBERS: Final = re.compile(r"\d+")


@final
class News:
    """What was told lately. `now_s` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._told: dict[tuple[str, str], float] = {}

    def is_news(self, peer: str, words: str) -> bool:
        """Whether something was not told about a peer in the last minute; then it counts as told. O(length)."""
        now, key = self._now_s(), (peer, _NUMBERS.sub("0", words))
        if now - self._told.get(key, -QUIET_S) < QUIET_S:
            return False
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told[key] = now
        return True

    def is_worth_telling(self, event: str, fields: Mapping[str, object]) -> bool:
        """The same of a line that a node has written, where it is one of those that come again. O(length)."""
        if event not in REPEATED:
            return True
        peer = next((str(fields[name]) for name in _PEER_FIELDS if name in fields), "")
        rest = {name: value for name, value in fields.items() if name not in _PEER_FIELDS}
        return self.is_news(peer, described(event, rest))
