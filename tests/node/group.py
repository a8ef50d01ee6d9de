"""Nodes under test: one alone with links played by hand, and simulated hosts that really exchange."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from marmoset.codec.frames import FrameReader, MessageReader, frames
from marmoset.codec.messages import (
    PROTOCOL_VERSION,
    ROLE_MEMBER,
    ROLE_NEWCOMER,
    AnyMessage,
    CaughtUp,
    Gossip,
    Hello,
    KnownRow,
    Refuse,
    Report,
    Resume,
    Resumed,
    SnapshotBegin,
    SnapshotEnd,
    decode,
    encode,
    vector_pairs,
)
from marmoset.codec.operations import AnyOperation, Assign
from marmoset.codec.packets import SAYS_ALIVE, Ack, Claim, Packet, Ping, decode_packet, encode_head, join_updates
from marmoset.config import Config
from marmoset.node import Close, Dial, DropTimer, Exit, Node, Notify, Send, SendPacket, SetTimer
from marmoset.sim.history import History
from marmoset.sim.host import Host
from marmoset.sim.network import Conditions, Network
from marmoset.sim.trace import Trace
from marmoset.sim.world import US_PER_MS, World

WALL_MS = 1_700_000_000_000


def a_config(name: str, gossip_port: int, **changes: object) -> Config:
    changes = {"bind": "127.0.0.1", "port": 0, **changes}
    return replace(Config(), name=name, gossip_port=gossip_port, **changes)  # type: ignore[arg-type]


@dataclass
class HandTime:
    """A time source that is moved by hand."""

    now: int = 0
    wall: int = WALL_MS

    def monotonic_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return self.wall


class Alone:
    """One node whose every link is played by the test."""

    def __init__(self, name: str = "n1", **changes: object) -> None:
        self.time = HandTime()
        self.config = a_config(name, 7001, **changes)
        self.node = Node(self.config, self.time, Random(name))
        self.said: dict[int, list[AnyMessage]] = {}
        self.closed: list[int] = []
        self.dialled: list[str] = []
        self.notices: list[Notify] = []
        self.exit: Exit | None = None
        self.timers: list[tuple[int, int]] = []
        self.packets: list[tuple[str, bytes]] = []
        self.answering: dict[int, int] = {}
        """Members that the test has answer every ping and refute what is said against them, with their incarnations."""
        self._readers: dict[int, tuple[FrameReader, MessageReader]] = {}
        self._resumed: dict[int, int] = {}
        self._links = 0
        self.node.start()
        self.take()

    def take(self) -> None:
        """Carry out the effects, as a shell would."""
        while self.node.effects:
            effects, self.node.effects = self.node.effects, []
            for effect in effects:
                if isinstance(effect, Send):
                    frame_reader, message_reader = self._readers[effect.link]
                    for payload in frame_reader.feed(effect.data):
                        data = message_reader.feed(payload)
                        if data is not None:
                            self.said[effect.link].append(decode(data))
                elif isinstance(effect, SendPacket):
                    self.packets.append((effect.address, effect.data))
                    self._answer(effect.address, decode_packet(effect.data))
                elif isinstance(effect, SetTimer):
                    self.timers.append((self.time.now + effect.delay_ms, effect.token))
                elif isinstance(effect, DropTimer):
                    self.timers = [timer for timer in self.timers if timer[1] != effect.token]
                elif isinstance(effect, Close):
                    self.closed.append(effect.link)
                elif isinstance(effect, Dial):
                    self.dialled.append(effect.address)
                elif isinstance(effect, Notify):
                    self.notices.append(effect)
                else:
                    self.exit = effect

    def _answer(self, address: str, packet: Packet) -> None:
        body = packet.body
        if isinstance(body, Ping) and body.target in self.answering:
            for update in packet.updates:
                if isinstance(update, Claim) and update.subject == body.target and update.kind != SAYS_ALIVE:
                    self.answering[body.target] = update.incarnation + 1
            incarnation = self.answering[body.target]
            ack = Ack(body.seq, body.target, incarnation)
            head = encode_head(self.config.cluster, body.target, incarnation, ack)
            self.node.handle_packet(address, join_updates(head, []))

    def link(self, address: str = "") -> int:
        """A new link, opened by us if there is an address."""
        self._links += 1
        self.said[self._links] = []
        self._readers[self._links] = FrameReader(1 << 21), MessageReader(1 << 26)
        if address:
            self.node.handle_dialled(self._links, address)
        else:
            self.node.handle_accepted(self._links)
        self.take()
        return self._links

    def hear(self, link: int, *messages: AnyMessage | bytes) -> None:
        """Messages come over a link, behind the answer to what was asked on it."""
        asked = sum(isinstance(message, Resume) for message in self.said[link])
        answers = [Resumed()] * (asked - self._resumed.get(link, 0))
        self._resumed[link] = asked
        for message in (*answers, *messages):
            data = message if isinstance(message, bytes) else encode(message)
            for payload in FrameReader(1 << 21).feed(frames(data, 1 << 20)):
                self.node.handle_message(link, payload)
                self.take()

    def run(self, duration_ms: int) -> None:
        """Let time pass, and timers with it."""
        end = self.time.now + duration_ms
        while self.timers and min(self.timers)[0] <= end:
            due, token = min(self.timers)
            self.timers.remove((due, token))
            self.time.wall += max(0, due - self.time.now)
            self.time.now = max(self.time.now, due)
            self.node.handle_timer(token)
            self.take()
        self.time.wall += end - self.time.now
        self.time.now = end

    def hello(self, replica: int, name: str = "n2", **changes: object) -> Hello:
        """What a member would say that knows everything that we have."""
        me = self.node.replica
        fields: dict[str, object] = {
            "protocol": PROTOCOL_VERSION,
            "cluster": self.config.cluster,
            "group": me.group,
            "replica": replica,
            "name": name,
            "address": f"127.0.0.1:{replica}",
            "role": ROLE_MEMBER,
            "wall_ms": self.time.wall,
            "vector": vector_pairs(me.seen),
            "line": [],
            **changes,
        }
        return Hello(**fields)  # type: ignore[arg-type]

    def newcomer(self, replica: int, name: str = "n2", **changes: object) -> Hello:
        return self.hello(replica, name, **{"role": ROLE_NEWCOMER, "group": 0, "vector": [(replica, 0)], **changes})

    def refusal(self, hello: Hello) -> Refuse | None:
        """How a Hello is answered on a link of its own: the refusal, or None."""
        link = self.link()
        self.hear(link, hello)
        found = [message for message in self.said[link] if isinstance(message, Refuse)]
        assert bool(found) == (link in self.closed)
        return found[0] if found else None

    def let_in(self, replica: int, name: str = "n2", born: bool = True) -> int:
        """A member that joined through us and is linked; the number of its link. It is played from here on."""
        link = self.link()
        self.hear(link, self.newcomer(replica, name))
        self.run(50)
        assert any(isinstance(message, SnapshotEnd) for message in self.said[link]), self.notices
        if born:
            from marmoset.codec.operations import Ready

            self.hear(link, self.batch(replica, [Ready()]), CaughtUp(), self.report(replica))
            assert self.node.replica.roster.members[replica].born
        return link

    def batch(self, origin: int, operations: list[AnyOperation], **changes: object) -> AnyMessage:
        """The next batch of a member that has observed all that we have."""
        from marmoset.codec.messages import Batch
        from marmoset.codec.wire import encode_operations

        me = self.node.replica
        before = me.contexts.get(origin, {})
        first = me.seen.get(origin, 0) + 1
        fields: dict[str, object] = {
            "origin": origin,
            "first": first,
            "count": len(operations),
            "stamp": (self.time.wall << 16) + 1,
            "state": me.stability.states.get(origin, 0) + 1,
            "raised": [(r, q) for r, q in sorted(me.seen.items()) if before.get(r) != q and r != origin],
            "dropped": [],
            "operations": encode_operations(operations, origin, first),
            **changes,
        }
        return Batch(**fields)  # type: ignore[arg-type]

    def report(self, replica: int) -> Report:
        """A member says that it has all that we have."""
        me = self.node.replica
        state = me.stability.states.get(replica, 0) + 1
        return Report(KnownRow(replica, state, self.time.wall << 16, vector_pairs(me.seen)), [])

    def gossip(
        self,
        replica: int,
        counter: int,
        *,
        answer: bool = False,
        wall_ms: int | None = None,
        unreachable: list[tuple[int, int]] | None = None,
        stalled: list[tuple[int, int]] | None = None,
    ) -> Gossip:
        wall = self.time.wall if wall_ms is None else wall_ms
        return Gossip(
            replica, counter, wall, [], [(replica, 0)], unreachable or [], stalled or [], self.time.now, answer
        )

    def events(self, event: str) -> list[dict[str, object]]:
        return [notice.fields for notice in self.notices if notice.event == event]


class Group:
    """Simulated hosts n1, n2, … of one group. The first begins it, the others join by it."""

    def __init__(self, size: int, seed: int = 1, conditions: Conditions | None = None, **changes: object) -> None:
        self.world = World()
        self.changes = changes
        self.seed = seed
        self.network = Network(self.world, Random(seed), conditions or Conditions(latency_us_max=400), Trace())
        self.history = History()
        self.hosts: list[Host] = []
        self.notices: list[tuple[str, Notify]] = []
        self.exits: dict[str, Exit] = {}
        for _ in range(size):
            self.start_one()
            self.until(lambda: self.hosts[-1].is_serving)
        if size:
            self.until(self.is_whole)

    def host(self, name: str, number: int, **changes: object) -> Host:
        """A machine; its node is not started."""
        config = a_config(name, 7000 + number, **{**self.changes, **changes})
        host = Host(self.world, self.network, self.history, config, Random(f"{self.seed} {number}"))
        host.on_notify = lambda host, notice: self.notices.append((host.name, notice))
        host.on_exit = lambda host, effect: self.exits.__setitem__(host.name, effect)
        return host

    def start_one(self, name: str = "", join: tuple[str, ...] | None = None, **changes: object) -> Host:
        """One more machine with a node that joins by the first ones."""
        number = len(self.hosts) + 1
        host = self.host(name or f"n{number}", number, **changes)
        addresses = tuple(other.address for other in self.hosts[:2]) if join is None else join
        self.hosts.append(host)
        host.start(addresses)
        return host

    def __getitem__(self, number: int) -> Node:
        node = self.hosts[number - 1].node
        assert node is not None
        return node

    def nodes(self) -> list[Node]:
        return [host.node for host in self.hosts if host.node is not None]

    def run(self, duration_ms: int) -> None:
        self.world.run_until(self.world.now_us + duration_ms * US_PER_MS)

    def until(self, condition: Callable[[], bool], within_ms: int = 30_000) -> int:
        """Let time pass until something holds; how long it took."""
        began = self.world.now_us
        while not condition():
            assert self.world.now_us - began < within_ms * US_PER_MS, self.tell()
            self.run(10)
        return (self.world.now_us - began) // US_PER_MS

    def is_whole(self) -> bool:
        """Whether all nodes that run serve and know exactly each other, all linked."""
        ids = {node.replica.me for node in self.nodes()}
        return all(
            node.state == "serving"
            and set(node.replica.roster.members) == ids
            and set(node.linked) == ids - {node.replica.me}
            for node in self.nodes()
        )

    def is_at_rest(self) -> bool:
        vectors = [node.replica.seen for node in self.nodes()]
        return all(node.replica.is_at_rest for node in self.nodes()) and all(vector == vectors[0] for vector in vectors)

    def do(self, number: int, *operations: AnyOperation) -> None:
        """A client's turn at a node."""
        node = self[number]
        assert node.refusal(write=True) is None, node.refusal(write=True)
        witness = self.hosts[number - 1].witness
        assert witness is not None
        witness.in_command = True
        for operation in operations:
            node.replica.submit(operation)
            node.replica.end_of_command()
        witness.in_command = False
        node.end_turn()
        self.hosts[number - 1].settle()

    def write(self, number: int, value: bytes, key: bytes = b"k") -> None:
        self.do(number, Assign(key, value))

    def cut(self, *numbers: int) -> None:
        """Cut some off from all others."""
        mine = [self.hosts[n - 1].name for n in numbers]
        rest = [host.name for host in self.hosts if host.name not in mine]
        self.network.cut([(a, b) for a in mine for b in rest] + [(b, a) for a in mine for b in rest])

    def settle(self, number: int) -> None:
        """Carry out what a call to a node wants done."""
        self.hosts[number - 1].settle()

    def values(self, key: bytes = b"k") -> list[object]:
        return [node.replica.keyspace.get(key) for node in self.nodes()]

    def events(self, name: str, event: str) -> list[dict[str, object]]:
        return [notice.fields for who, notice in self.notices if who == name and notice.event == event]

    def check(self) -> None:
        for node in self.nodes():
            node._check()

    def tell(self) -> str:
        """What is where, for a test that failed."""
        lines = [f"{n.config.name} {n.state} {n.status()}" for n in self.nodes()]
        return "\n".join([*lines, *(f"{who}: {notice}" for who, notice in self.notices[-25:])])


def has_begun(message: AnyMessage) -> bool:
    return isinstance(message, SnapshotBegin)
