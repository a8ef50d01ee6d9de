"""A register and a counter: one value, assigned or added to (floor 10). Both are views of the same kind of key."""

from typing import TypeVar, cast

from marmoset.api.base import View, checked_amount, whole_number
from marmoset.api.store import Given, T
from marmoset.codec.operations import KIND_REGISTER, Assign, Increment, Scalar

_D = TypeVar("_D")


class CounterView(View[T]):
    """A whole number. What members add at the same time adds up; assigning overwrites only what this node had seen."""

    @property
    def value(self) -> int:
        """The number, 0 if the key is absent. O(1)."""
        self._store.check()
        with self._store.lock:
            return whole_number(cast("Scalar | None", self._store.value(self._key, KIND_REGISTER)), self)

    def increment(self, amount: int = 1) -> int:
        """Add; the sum as this node sees it. O(1).

        Raises:
            UsageError: the key holds something that is not a whole number; nothing was changed.
        """
        whole = checked_amount(amount)
        self._store.check()
        with self._store.lock:
            before = whole_number(cast("Scalar | None", self._store.value(self._key, KIND_REGISTER)), self)
            self._store.write(Increment(self._key, whole), 8)
            return before + whole

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
        self._store.check()
        with self._store.lock:
            found = cast("Scalar | None", self._store.value(self._key, KIND_REGISTER))
        return default if found is None else self._store.decode(found)

    def set(self, value: Given) -> None:
        """Assign. A key that held a collection holds this value from now on, as Redis's SET does. O(1)."""
        self._store.check()
        encoded = self._store.encode(value)
        with self._store.lock:
            self._store.write(Assign(self._key, encoded), len(encoded))

    @property
    def value(self) -> T | None:
        """The value, None if the key is absent; assigning to it is `set`."""
        return self.get()

    @value.setter
    def value(self, value: Given) -> None:
        self.set(value)
