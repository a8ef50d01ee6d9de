"""marmoset: a distributed in-memory key-value database whose values merge.

    import marmoset

    with marmoset.open(name="web-1", join=["10.0.0.5:7946"]) as db:
        db.set("online").add("ada")

`open` starts a replica in this process (see `marmoset.api`). Importing this package loads nothing else.
"""

import os
from typing import TYPE_CHECKING

from marmoset import build
from marmoset.errors import InternalError, MarmosetError, PeerError, UsageError
from marmoset.version import VERSION

if TYPE_CHECKING:
    from marmoset.api import Database, aopen, open

build.choose(os.environ)  # before any module that is compiled is looked for

__version__ = VERSION
__all__ = ["Database", "InternalError", "MarmosetError", "PeerError", "UsageError", "__version__", "aopen", "open"]

_FROM_API = ("Database", "aopen", "open")


def __getattr__(name: str) -> object:
    if name in _FROM_API:
        from marmoset import api  # noqa: PLC0415  # the face brings the whole server with it: only when it is used

        return getattr(api, name)
    raise AttributeError(f"module 'marmoset' has no attribute {name!r}")
