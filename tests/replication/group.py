"""Replicas of one group that were filled by real snapshots, and streams between two of them, driven by hand."""

from collections import deque
from collections.abc import Callable

from marmoset.codec.frames import FrameReader, MessageReader
from marmoset.codec.messages import AnyMessage, Batch, decode
from marmoset.codec.operations import Assign, Join, Ready
from marmoset.keyspace import Keyspace
from marmoset.replication.exchange import GO_ON, Stream, StreamMessage
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource

WALL_MS = 1_700_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = WALL_MS

    def __call__(self) -> int:
        return self.ms


def new_replica(me: int, clock: Callable[[], int] | None = None, frame_bytes_max: int = 4096) -> Replica:
    replica = Replica(
        keyspace=Keyspace(1000),
        wall_ms=clock or Clock(),
        name=f"r{me}",
        address=f"127.0.0.1:{me}",
        frame_bytes_max=frame_bytes_max,
        batch_operations_max=100,
    )
    replica.begin(me)
    return replica


def first_of_all(me: int = 1, clock: Callable[[], int] | None = None) -> Replica:
    replica = new_replica(me, clock)
    replica.begin_group(77)
    return replica


def messages(framed: bytes) -> list[tuple[AnyMessage, bytes]]:
    """The messages in some frames, each with its bytes."""
    assembled = MessageReader(1 << 24)
    found: list[tuple[AnyMessage, bytes]] = []
    for payload in FrameReader(1 << 20).feed(framed):
        data = assembled.feed(payload)
        if data is not None:
            found.append((decode(data), data))
    return found


def fill(source: SnapshotSource, sink: SnapshotSink) -> None:
    """Everything that is left of a snapshot."""
    while not source.is_done:
        give_step(source, sink)


def give_step(source: SnapshotSource, sink: SnapshotSink) -> None:
    """One step of a snapshot: its frames really cross."""
    for framed in source.step():
        for message, data in messages(framed):
            sink.take(message, data)


def catch_up(source: Replica, target: Replica, limit: int = 1 << 30) -> int:
    """Up to `limit` of what the target lacks, in the source's apply order; how many it took."""
    source.commit()
    target.commit()
    took = 0
    for entry in list(source.log.entries.values())[:limit]:
        ((message, _),) = messages(entry.framed)
        assert isinstance(message, Batch)
        if not target.covers(target.seen, (entry.origin, entry.last)):
            assert target.apply(message, entry.framed) == "applied"
            took += 1
    return took


def join(sponsor: Replica, me: int, clock: Callable[[], int] | None = None, born: bool = True) -> Replica:
    """A newcomer that was filled by its sponsor, and born, which its sponsor knows."""
    newcomer = new_replica(me, clock or sponsor.wall_ms)
    sponsor.submit_roster([Join(me, f"r{me}", f"127.0.0.1:{me}")])
    source, sink = SnapshotSource(sponsor, me), SnapshotSink(newcomer)
    fill(source, sink)
    assert sink.is_complete
    newcomer.keyspace.snapshot_vectors.clear()
    if born:
        newcomer.submit_roster([Ready()])
        catch_up(newcomer, sponsor)
    return newcomer


def trio() -> tuple[Replica, Replica, Replica]:
    """Three members that know each other."""
    a = first_of_all()
    b, c = join(a, 2), join(a, 3)
    for _ in range(2):
        meet(a, b)
        meet(a, c)
    return a, b, c


def meet(one: Replica, other: Replica) -> None:
    """A whole exchange in both directions, with reports."""
    for source, target in ((one, other), (other, one)):
        catch_up(source, target)
        report, _ = source.report(target.me, 0)
        target.count_report(report)


def rest(*replicas: Replica) -> None:
    """Exchange and fold until nothing changes any more."""
    for _ in range(4):
        for one in replicas:
            for other in replicas:
                if one is not other:
                    meet(one, other)
        for replica in replicas:
            while replica.advance():
                replica.fold_slice(1000)
            replica._check()


def write(replica: Replica, value: bytes, key: bytes = b"k") -> None:
    replica.submit(Assign(key, value))
    replica.commit()


class Line:
    """A link between two replicas: a stream at each end, and what is under way in both directions."""

    def __init__(self, left: Replica, right: Replica, held_bytes_max: int = 1 << 20) -> None:
        self.sent: dict[int, deque[bytes]] = {left.me: deque(), right.me: deque()}
        self.ends: dict[int, Stream] = {}
        self.changes: list[int] = []
        for here, there in ((left, right), (right, left)):
            self.ends[here.me] = Stream(
                here, there.me, dict(there.seen), frozenset(), self.sent[here.me].append, held_bytes_max,
                lambda me=here.me: self.changes.append(me),  # type: ignore[misc]
            )  # fmt: skip
            if there.me in here.roster.members:
                self.ends[here.me].start_sending()

    def end_of(self, replica: Replica) -> Stream:
        return self.ends[replica.me]

    def pump(self, source: Replica, budget: int = 1 << 20) -> bool:
        return self.ends[source.me].pump(budget)

    def deliver(self, source: Replica, limit: int = 1 << 30, now_ms: int = 0) -> list[tuple[StreamMessage, str]]:
        """Let some of what a side has sent arrive; each message with the verdict about it."""
        (other,) = [stream for me, stream in self.ends.items() if me != source.me]
        verdicts: list[tuple[StreamMessage, str]] = []
        while self.sent[source.me] and limit > 0:
            for message, data in messages(self.sent[source.me].popleft()):
                verdicts.append((message, other.receive(message, data, now_ms)))  # type: ignore[arg-type]
            limit -= 1
        return verdicts

    def settle(self) -> None:
        """Pump and deliver until nothing is under way."""
        for _ in range(20):
            for stream in self.ends.values():
                stream.replica.commit()
                stream.pump(1 << 20)
            for stream in self.ends.values():
                for message, verdict in self.deliver(stream.replica):
                    assert verdict == GO_ON, (message, verdict)
            if not any(self.sent.values()):
                break

    def names(self, source: Replica) -> list[str]:
        """What a side has sent and has not arrived, by the names of the messages."""
        return [type(message).__name__ for framed in self.sent[source.me] for message, _ in messages(framed)]
