"""What a sequence is specified to show, and small clusters in which histories of operations are played out.

`TreeOrder` is FugueMax as its paper draws it: a tree that never forgets, no window, no dropping, no scan. `Cluster`
is the replication of the model, cut down to what a sequence sees: causal delivery in prefixes, knowledge counted only
when everything behind it is here, and folds of single operations in any causally closed order.
"""

import random
from dataclasses import dataclass, field

import msgspec

from marmoset.clocks import Context
from marmoset.codec.operations import Scalar
from marmoset.crdts import sequence as sequences
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.ids import Dot

Vector = dict[int, int]


@dataclass(frozen=True)
class Operation:
    dot: Dot
    context: Vector
    stamp: int
    verb: str
    left: Dot | None = None
    right: Dot | None = None
    values: tuple[Scalar, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()

    @property
    def width(self) -> int:
        return max(1, len(self.values)) if self.verb == "insert" else 1

    def observed(self, dot: Dot) -> bool:
        return dot[1] <= self.context.get(dot[0], 0)


@dataclass
class Node:
    dot: Dot
    parent: "Node | None"
    right_origin: Dot | None
    left_children: "list[Node]" = field(default_factory=list)
    right_children: "list[Node]" = field(default_factory=list)


class TreeOrder:
    """FugueMax as a tree: every element is a left or right child, and the order is that of the walk."""

    def __init__(self) -> None:
        self.root = Node((0, 0), None, None)
        self.nodes: dict[Dot | None, Node] = {None: self.root}

    def order(self) -> list[Dot]:
        found: list[Dot] = []
        stack: list[tuple[Node, bool]] = [(self.root, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                found.append(node.dot)
                continue
            stack += [(child, False) for child in reversed(node.right_children)]
            stack.append((node, True))
            stack += [(child, False) for child in reversed(node.left_children)]
        return found[found.index((0, 0)) + 1 :]  # nothing stands left of the root

    def insert(self, operation: Operation) -> None:
        order = self.order()
        at = order.index(operation.left) + 1 if operation.left is not None else 0
        right = next((dot for dot in order[at:] if operation.observed(dot)), None)
        left = operation.left
        for i in range(len(operation.values)):
            dot = (operation.dot[0], operation.dot[1] + i)
            self._attach(dot, left, right, order)
            left = dot

    def _attach(self, dot: Dot, left: Dot | None, right: Dot | None, order: list[Dot]) -> None:
        above: Node | None = self.nodes[right] if right is not None else None
        while above is not None and above is not self.nodes[left]:
            above = above.parent
        if above is not None:
            assert right is not None
            node = Node(dot, self.nodes[right], right)
            siblings = self.nodes[right].left_children
            siblings.append(node)
            siblings.sort(key=lambda n: n.dot)
        else:
            node = Node(dot, self.nodes[left], right)
            siblings = self.nodes[left].right_children
            siblings.append(node)
            place = {d: i for i, d in enumerate(order)}
            siblings.sort(key=lambda n: (-place[n.right_origin] if n.right_origin is not None else -len(place), n.dot))
        self.nodes[dot] = node


def specified(order: list[Dot], operations: list[Operation]) -> list[tuple[Dot, Scalar]]:
    """What is visible, as a function of the operations and of what each had observed."""
    inserted = {
        (o.dot[0], o.dot[1] + i): value for o in operations if o.verb == "insert" for i, value in enumerate(o.values)
    }
    removed = {(r, s + i) for o in operations if o.verb == "remove" for r, s, n in o.ranges for i in range(n)}
    resets = [o for o in operations if o.verb == "reset"]
    assigned: dict[Dot, list[tuple[int, Dot, Scalar]]] = {}
    for o in operations:
        if o.verb == "assign":
            assert o.left is not None
            assigned.setdefault(o.left, []).append((o.stamp, o.dot, o.values[0]))
    return [
        (dot, max(assigned[dot])[2] if dot in assigned else inserted[dot])
        for dot in order
        if dot not in removed and not any(o.observed(dot) for o in resets)
    ]


class Replica:
    def __init__(self, me: int, ids: list[int]) -> None:
        self.me = me
        self.seen: Vector = dict.fromkeys(ids, 0)
        self.known: dict[int, Vector] = {r: dict.fromkeys(ids, 0) for r in ids}
        self.folded: Vector = dict.fromkeys(ids, 0)
        self.log: list[Operation] = []
        self.unfolded: list[Operation] = []
        self.sequence = Sequence()
        self.window = SequenceWindow()
        self.tree = TreeOrder()
        self.stamp = 0
        self.dropped = 0

    def apply(self, o: Operation) -> None:
        assert o.dot[1] == self.seen[o.dot[0]] + 1 and all(self.seen[r] >= q for r, q in o.context.items())
        context = Context(o.context, {})
        sequence, window = self.sequence, self.window
        if o.verb == "insert":
            sequences.insert(sequence, window, o.dot, context, o.left, o.right, list(o.values))
            self.tree.insert(o)
        elif o.verb == "remove":
            sequences.remove(sequence, window, o.dot, list(o.ranges))
        elif o.verb == "assign":
            assert o.left is not None
            sequences.assign(sequence, window, o.dot, o.stamp, context, o.left, o.values[0])
        else:
            sequences.reset(sequence, window, o.dot, context)
        last = o.dot[1] + o.width - 1
        self.stamp = max(self.stamp, o.stamp)
        self.seen[o.dot[0]] = last
        self.log.append(o)
        self.unfolded.append(o)
        row = self.known[o.dot[0]]
        for r, q in o.context.items():
            row[r] = max(row[r], q)
        row[o.dot[0]] = last
        self.known[self.me] = dict(self.seen)

    def foldable(self) -> list[Operation]:
        frontier = {r: min(row[r] for row in self.known.values()) for r in self.seen}
        return [
            o
            for o in self.unfolded
            if o.dot[1] + o.width - 1 <= frontier[o.dot[0]]
            and o.dot[1] == self.folded[o.dot[0]] + 1
            and all(self.folded[r] >= q for r, q in o.context.items())
        ]

    def fold(self, o: Operation) -> None:
        before = self.sequence.removed_count
        if o.verb == "insert":
            sequences.fold_insert(self.sequence, self.window, o.dot, len(o.values))
        elif o.verb == "remove":
            sequences.fold_remove(self.sequence, self.window, o.dot, list(o.ranges))
        elif o.verb == "assign":
            assert o.left is not None
            sequences.fold_assign(self.sequence, self.window, o.dot, o.left)
        else:
            sequences.fold_reset(self.sequence, self.window, o.dot)
        self.dropped += before - self.sequence.removed_count
        self.folded[o.dot[0]] = o.dot[1] + o.width - 1
        self.unfolded.remove(o)

    def ids(self) -> list[Dot]:
        return [self.sequence.id_at(i) for i in range(len(self.sequence))]

    def check(self) -> None:
        self.sequence._check()
        self.window._check(self.sequence)
        expected = specified(self.tree.order(), self.log)
        assert list(zip(self.ids(), self.sequence, strict=True)) == expected, "the sequence is not what is specified"
        assert len(self.sequence) == len(expected)
        inserts = [o.dot for o in self.unfolded if o.verb == "insert"]
        assert sorted(self.window.insertions) == sorted(inserts)
        assert self.window.entries <= len(self.unfolded) and bool(self.window) == (not self.window.empty)

    def round_trip(self) -> None:
        data = msgspec.msgpack.encode(sequences.export_state(self.sequence, self.window))
        self.sequence, self.window = sequences.import_state(msgspec.msgpack.decode(data))
        assert msgspec.msgpack.encode(sequences.export_state(self.sequence, self.window)) == data


class Cluster:
    """Some replicas, and the steps of a history; each step is chosen by four numbers, so that histories shrink."""

    def __init__(self, count: int, *, backwards: bool = False) -> None:
        ids = [count - i if backwards else i + 1 for i in range(count)]
        self.replicas = [Replica(me, sorted(ids)) for me in ids]
        self.counter = 0

    def write(self, replica: Replica, verb: int, x: int, y: int) -> None:
        sequence, length = replica.sequence, len(replica.sequence)
        replica.stamp += 1 + y % 2
        dot, context = (replica.me, replica.seen[replica.me] + 1), dict(replica.seen)
        if verb >= 10 or length == 0:
            at = (0, length, length // 2, x % (length + 1), x % (length + 1))[x // 7 % 5]
            values: list[Scalar] = []
            for _ in range((1, 1, 1, 1, 2, 3, 7)[y % 7]):
                self.counter += 1
                values.append(self.counter if self.counter % 3 else b"%d" % self.counter)
            left, right = sequence.neighbours(at)
            replica.apply(Operation(dot, context, replica.stamp, "insert", left, right, tuple(values)))
            ids = replica.ids()
            assert ids[at : at + len(values)] == [(dot[0], dot[1] + i) for i in range(len(values))], (
                "inserted elsewhere"
            )
            assert (ids[at - 1] if at else None) == left
            return
        if verb == 0 and x % 4 == 0:
            replica.apply(Operation(dot, context, replica.stamp, "reset"))
            assert len(sequence) == 0, "a local reset leaves nothing"
        elif verb == 1:
            start, stop = sorted((x % (length + 1), y % (length + 1)))
            ranges = sequence.ranges(0, start) + sequence.ranges(stop, length)  # LTRIM
            if ranges:
                replica.apply(Operation(dot, context, replica.stamp, "remove", ranges=tuple(ranges)))
        elif verb in (2, 3):
            self.counter += 1
            element = sequence.id_at(x % length)
            replica.apply(Operation(dot, context, replica.stamp, "assign", element, values=(self.counter,)))
            assert sequence[x % length] == self.counter, "a local assignment wins"
        elif verb == 4:
            picked = sorted({x % length, y % length, (x + y) % length})  # LREM
            ranges = [r for i in picked for r in sequence.ranges(i, i + 1)]
            replica.apply(Operation(dot, context, replica.stamp, "remove", ranges=tuple(ranges)))
        else:
            start = x % length
            ranges = sequence.ranges(start, start + 1 + (y % 3 if verb < 8 else 0))
            replica.apply(Operation(dot, context, replica.stamp, "remove", ranges=tuple(ranges)))

    def push_in_front(self, replica: Replica, x: int, y: int) -> None:
        """Insert some values one by one, each in front of the one before: at the front of all, or of some element."""
        at = 0 if x % 3 else x % (len(replica.sequence) + 1)
        for _ in range(2 + y % 5):
            self.counter += 1
            left, right = replica.sequence.neighbours(at)
            dot = (replica.me, replica.seen[replica.me] + 1)
            replica.stamp += 1
            replica.apply(
                Operation(dot, dict(replica.seen), replica.stamp, "insert", left, right, values=(self.counter,))
            )
            assert replica.ids()[at] == dot, "inserted elsewhere"

    def exchange(self, source: Replica, target: Replica, limit: int | None = None) -> None:
        missing = [o for o in source.log if o.dot[1] > target.seen[o.dot[0]]]
        for o in missing[:limit]:
            target.apply(o)
        if limit is None or limit >= len(missing):  # counted only now: target has all that source has
            for j, vector in source.known.items():
                row = target.known[j]
                for r, q in vector.items():
                    row[r] = max(row[r], q)

    def step(self, kind: int, which: int, x: int, y: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        if kind < 20:
            self.write(replica, kind, x, y)
        elif kind < 36:
            other = self.replicas[x % len(self.replicas)]
            if other is not replica:
                self.exchange(replica, other, None if kind < 30 else y % 5)
        elif kind < 39:
            for _ in range(y % 12 + 1):
                foldable = replica.foldable()
                if foldable:
                    replica.fold(foldable[x % len(foldable)])
        elif kind < 40:
            replica.round_trip()
        else:
            self.push_in_front(replica, x, y)
        replica.check()

    def settle(self) -> int:
        """Let everybody see and fold everything: how many removed elements were dropped in all."""
        for _ in range(3):
            for source in self.replicas:
                for target in self.replicas:
                    if source is not target:
                        self.exchange(source, target)
        first = self.replicas[0]
        for replica in self.replicas:
            assert replica.ids() == first.ids() and list(replica.sequence) == list(first.sequence), "diverged"
            while replica.foldable():
                replica.fold(replica.foldable()[-1])
                replica.check()
            assert not replica.unfolded, "the harness did not fold everything"
            assert replica.window.entries == 0, "a window at rest"
            assert replica.sequence.removed_count == 0, "removed elements at rest"
        states = {msgspec.msgpack.encode(sequences.export_state(r.sequence, r.window)) for r in self.replicas}
        assert len(states) == 1, "equal content has different states"
        return sum(replica.dropped for replica in self.replicas)


def play(seed: int, steps: int) -> int:
    """One random history from a seed: how many removed elements were dropped in it."""
    rng = random.Random(seed)
    cluster = Cluster(rng.randint(2, 4), backwards=rng.random() < 0.5)
    writes, folds, trips = rng.choice([0.3, 0.5, 0.7]), rng.choice([0.05, 0.2, 0.4]), rng.choice([0.0, 0.05])
    verbs = rng.choice([range(20), range(4, 20), range(5, 20), range(20)])
    pushes = rng.choice([0.0, 0.1])
    for _ in range(steps):
        roll = rng.random()
        if roll < writes:
            kind = rng.choice(verbs)
        elif roll < writes + trips:
            kind = 39
        elif roll < writes + trips + folds:
            kind = rng.randint(36, 38)
        else:
            kind = rng.randint(20, 35)
        if rng.random() < pushes:
            kind = 40
        cluster.step(kind, rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(16))
    return cluster.settle()
