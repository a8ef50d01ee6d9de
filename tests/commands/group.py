"""Nodes that are linked in memory, for commands that need more than one. Time moves only when it is told to."""

from heapq import heappop, heappush
from random import Random

from marmoset.codec.frames import FrameReader
from marmoset.config import Config
from marmoset.node import Close, Dial, Exit, Node, Notify, Send, SetTimer
from marmoset.session import Clients, Session
from tests.commands.beside_redis import Answer, StoppedTime, answers, request


class Member:
    """One node with one client."""

    def __init__(self, group: "Group", number: int) -> None:
        self.group = group
        self.address = f"127.0.0.1:{7000 + number}"
        join = (group.members[0].address,) if group.members else ()
        config = Config(name=f"n{number}", port=6000 + number, gossip_port=7000 + number, join=join)
        self.node = Node(config, group.time, Random(number))
        self.session = Session(self.node, Clients(), 1, "10.0.0.1:1")
        self.readers: dict[int, FrameReader] = {}
        self.notices: list[Notify] = []
        self.exited: Exit | None = None

    def __call__(self, *words: str | bytes | int) -> Answer:
        """The answer to a request; others hear of it when the group is settled."""
        (answer,) = answers(self.session.receive(request(*words)))
        return answer


class Group:
    """Members, their links and timers."""

    def __init__(self, size: int) -> None:
        self.time = StoppedTime()
        self.members: list[Member] = []
        self.ends: dict[tuple[int, int], tuple[Member, int]] = {}
        self.timers: list[tuple[int, int, Member, int]] = []
        self.cut: set[Member] = set()
        self._links = 0
        self._order = 0
        for number in range(size):
            self.members.append(Member(self, number))
            self.members[-1].node.start()
            self.run(3000)
            assert self.members[-1].node.state == "serving"

    def settle(self) -> None:
        """Carry out what the nodes want done, until there is nothing left."""
        for member in self.members:
            if member.exited is None:
                member.node.end_turn()
        while any(member.node.effects for member in self.members):
            for member in self.members:
                effects, member.node.effects = member.node.effects, []
                for effect in effects:
                    self._carry_out(member, effect)

    def _carry_out(self, member: Member, effect: object) -> None:
        number = self.members.index(member)
        if isinstance(effect, SetTimer):
            self._order += 1
            heappush(self.timers, (self.time.now_ms + effect.delay_ms, self._order, member, effect.token))
        elif isinstance(effect, Dial):
            self._dial(member, effect.address)
        elif isinstance(effect, Send) and (number, effect.link) in self.ends:
            other, link = self.ends[number, effect.link]
            if member not in self.cut and other not in self.cut:
                for payload in other.readers[link].feed(effect.data):
                    other.node.handle_message(link, payload)
        elif isinstance(effect, Close) and (number, effect.link) in self.ends:
            other, link = self.ends.pop((number, effect.link))
            self.ends.pop((self.members.index(other), link), None)
            other.node.handle_closed(link)
        elif isinstance(effect, Notify):
            member.notices.append(effect)
        elif isinstance(effect, Exit):
            member.exited = effect

    def _dial(self, member: Member, address: str) -> None:
        found = [other for other in self.members if other.address == address and other.exited is None]
        if not found or found[0] in self.cut or member in self.cut:
            member.node.handle_dial_failed(address, "connection refused")
            return
        self._links += 2
        here, there = self._links, self._links + 1
        for one, link, other, other_link in ((member, here, found[0], there), (found[0], there, member, here)):
            self.ends[self.members.index(one), link] = other, other_link
            one.readers[link] = FrameReader(one.node.config.frame_bytes_max + 4)
        found[0].node.handle_accepted(there)
        member.node.handle_dialled(here, address)

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        until = self.time.now_ms + duration_ms
        self.settle()
        while self.timers and self.timers[0][0] <= until:
            self.time.now_ms, _, member, token = heappop(self.timers)
            if member.exited is None:
                member.node.handle_timer(token)
            self.settle()
        self.time.now_ms = until
