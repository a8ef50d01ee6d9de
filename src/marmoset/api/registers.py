"""A register and a counter: one value, assigned or added to (floor 10). Both are views of the same kind of key."""

from typing import TypeVar

from marmoset.api.access import whole_number
from marmoset.api.base import CounterBase, View
from marmoset.api.store import Given, T

_D = TypeVar("_D")


class CounterView(CounterBase[T]):
    """A whole number. What members add at the same time adds up; assigning overwrites only what this node had seen."""

    @property
    def value(self) -> int:
        """The number, 0 if the key is absent. O(1)."""
        return whole_number(self._store.register(self._key), self)

    def decrement(self, amount: int = 1) -> int:
        """Subtract; the rest as this node sees it. O(1)."""
        return self.increment(-amount)

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value


class RegisterView(View[T]):
    """One value. Of two assignments at the same time the later one, by the clock, stays."""

    def get(self, default: _D | None = None) -> T | _D | None:
        """The value, or the default if the key is absent. O(1)."""
        found = self._store.register(self._key)
        return default if found is None else self._store.decode(found)

    def set(self, value: Given) -> None:
        """Assign. A key that held a collection holds this value from now on, as Redis's SET does. O(1)."""
        self._store.assign(self._key, value)

    @property
    def value(self) -> T | None:
        """The value, None if the key is absent; assigning to it is `set`."""
        return self.get()

    @value.setter
    def value(self, value: Given) -> None:
        self.set(value)
