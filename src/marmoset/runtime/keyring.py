"""The file of a keyring (floor 9): read at the start and again on `MARMOSET KEYRING RELOAD`.

A file that cannot be read, or is no keyring, changes nothing: the ring that was read last stays.
"""

import os
import stat
from collections.abc import Callable
from typing import Final, final

from marmoset.codec.keyring import Keyring, parse_keyring
from marmoset.errors import UsageError
from marmoset.logs import log

FILE_BYTES_MAX: Final = 1 << 16


def read_keyring(path: str) -> Keyring:
    """The ring of a file; warns where others than its owner may read it.

    Raises:
        UsageError: there is no such file, or it is no keyring; the text has the path, and never a key.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"keyring {path} cannot be read: {error.strerror or error}") from error
    try:
        if len(data) > FILE_BYTES_MAX:
            raise UsageError(f"it has more than {FILE_BYTES_MAX} bytes")
        ring = parse_keyring(data.decode("ascii", "replace"))
    except UsageError as error:
        raise UsageError(f"keyring {path}: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        access = f"{stat.S_IMODE(mode):03o}"
        log("warning", "others may read the keyring", {"path": path, "mode": access, "better": f"chmod 600 {path}"})
    return ring


@final
class KeyringFile:
    """The ring of a node and where it came from. `on_change` is called when another one was read."""

    def __init__(self, path: str, on_change: Callable[[], None], links: Callable[[], list[bytes]]) -> None:
        self.path = path
        self.ring = read_keyring(path)
        self._on_change = on_change
        self._links = links

    def rows(self) -> list[dict[str, str | int]]:
        """The keys in order: id, whether it seals, and how many links use it. O(keys x links)."""
        used = self._links()
        return [
            {"id": key.id.hex(), "seals": int(key is self.ring.first), "links": used.count(key.id)}
            for key in self.ring.keys
        ]

    def reload(self) -> None:
        """Read the file again.

        Raises:
            UsageError: it is no keyring; nothing was changed.
        """
        self.ring = read_keyring(self.path)
        log("info", "keyring read", {"keys": ",".join(self.ring.ids()), "first_seals": self.ring.first.id.hex()})
        self._on_change()
