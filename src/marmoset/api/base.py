"""What all views of the Python face have in common (floor 10).

A view holds nothing but a store and a key: it may be made for a key that is not there yet, and many views of one key
are the same value. Every method looks, decides and writes under the lock. Iteration goes over what was there when it
began. A collection that gets empty is a key that is gone. Every removal removes only what this node had seen.
"""

from typing import Generic

from marmoset.api.store import Store, T


class View(Generic[T]):
    """A key of a store."""

    def __init__(self, store: Store[T], key: bytes) -> None:
        self._store: Store[T] = store
        self._key = key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._key!r}>"

    def delete(self) -> bool:
        """Remove the key; whether it was there. What others write at the same time stays."""
        self._store.check()
        with self._store.lock:
            return self._store.reset(self._key)
