"""A few holders of one value: random histories with partial exchanges and folding, compared with a specification.

Small on purpose: nobody joins or leaves, and an operation is stable for a holder once everybody whom it has heard from
whole is known to have it. What is compared, at every step and with each holder, is a function over the operations that
the holder has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from marmoset.clocks import Context, LocalContext, VersionVector
from marmoset.codec.operations import AnyOperation, Reset
from marmoset.crdts import types
from marmoset.crdts.types import Value, Window
from marmoset.ids import Dot

Specification = Callable[[list["Done"]], object]
Maker = Callable[[Random, Value | None], AnyOperation]


@dataclass(frozen=True)
class Done:
    """An operation and what its origin had observed."""

    dot: Dot
    stamp: int
    operation: AnyOperation
    context: VersionVector

    def observed(self, other: "Done") -> bool:
        return other.dot[1] <= self.context[other.dot[0]]


def survivors(done: list[Done], *removals: Callable[[Done, Done], bool]) -> list[Done]:
    """Those that nobody removes who has observed them; `removes(by, what)` says what somebody removes."""
    return [x for x in done if not any(y.observed(x) and removes(y, x) for y in done for removes in removals)]


class Holder:
    def __init__(self, me: int, everybody: range, kind: int) -> None:
        self.me, self.kind = me, kind
        self.value: Value | None = types.empty_value(kind)
        self.window: Window | None = None
        self.log: list[Done] = []
        self.folded: set[Dot] = set()
        self.seen: VersionVector = dict.fromkeys(everybody, 0)
        self.known: dict[int, VersionVector] = {me: self.seen}
        self.everybody = everybody

    def apply(self, done: Done) -> None:
        context = LocalContext() if done.dot[0] == self.me else Context({**done.context, done.dot[0]: done.dot[1]}, {})
        if self.window is None:
            self.window = types.new_window(self.kind, self.value)
        if isinstance(done.operation, Reset):
            self.value = types.reset(self.value, self.window, done.dot, context)
        else:
            self.value = types.effect(self.value, self.window, done.operation, done.dot, done.stamp, context)
        self._tidy()
        self.seen[done.dot[0]] = done.dot[1]
        self.log.append(done)

    def fold(self) -> None:
        if len(self.known) < len(self.everybody):
            return
        for done in self.log:
            stable = all(vector[done.dot[0]] >= done.dot[1] for vector in self.known.values())
            if stable and done.dot not in self.folded:
                self.folded.add(done.dot)
                if self.window is not None:
                    before = self.shown()
                    if isinstance(done.operation, Reset):
                        types.fold_reset(self.value, self.window, done.dot)
                    else:
                        types.fold(self.value, self.window, done.operation, done.dot)
                    assert self.shown() == before, "folding changes nothing that is visible"
                    self._tidy()

    def _tidy(self) -> None:
        if self.window is not None and not self.window.entries:
            self.window = None
        types.check_value(self.value, self.window)

    def shown(self) -> object:
        if self.value is None or isinstance(self.value, bytes | int):
            return self.value
        return dict(self.value.items()) if hasattr(self.value, "items") else set(self.value)


def run(rng: Random, kind: int, make: Maker, specification: Specification, steps: int = 30) -> None:
    """One history of three holders; every value is as specified at every moment, and nothing is left at rest."""
    everybody = range(1, 4)
    holders = [Holder(me, everybody, kind) for me in everybody]
    clock = 0
    for _ in range(steps):
        holder, other = rng.sample(holders, 2)
        dice = rng.random()
        if dice < 0.5:
            clock += rng.choice([0, 1])  # stamps may be equal at different replicas: then the dots decide
            operation = Reset(b"k") if rng.random() < 0.1 else make(rng, holder.value)
            dot = (holder.me, holder.seen[holder.me] + 1)
            holder.apply(Done(dot, clock, operation, dict(holder.seen)))
        elif dice < 0.85:
            deliver(holder, other, rng.choice([0, 1, 2, 99]))
        else:
            holder.fold()
        for one in (holder, other):
            assert one.shown() == specification(one.log), "while it happens"
    for _ in range(2):
        for holder in holders:
            for other in holders:
                deliver(holder, other, 99)
    for holder in holders:
        holder.fold()
        assert holder.shown() == specification(holder.log), "at rest"
        assert holder.window is None, "a window is left at rest"
        assert holder.shown() == holders[0].shown()


def deliver(source: Holder, target: Holder, limit: int) -> None:
    missing = [done for done in source.log if target.seen[done.dot[0]] < done.dot[1]]
    for done in missing[:limit]:
        target.apply(done)
    if len(missing) <= limit and source is not target:
        target.known[source.me] = dict(source.seen)
