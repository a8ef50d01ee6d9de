"""Greeting: the handshake of a link (floor 7). What is decided about a Hello is decided by `links.judge`."""

from typing import TYPE_CHECKING, final

from marmoset.codec.messages import PROTOCOL_VERSION, ROLE_MEMBER, ROLE_NEWCOMER, Hello, Refuse, vector_pairs
from marmoset.errors import PeerError
from marmoset.ids import id_text, new_replica_id
from marmoset.node.links import FILLING, Link, judge
from marmoset.node.rehabilitating import proof
from marmoset.node.states import LEAVING

if TYPE_CHECKING:
    from marmoset.node.node import Node


@final
class Greeting:
    """The handshakes of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def hello(self, link: Link) -> None:
        """Say who we are, the first message on a link."""
        node, replica = self._node, self._node.replica
        link.greeted_as = replica.me if node.keeps_links() else 0
        node.send(
            link,
            Hello(
                PROTOCOL_VERSION,
                node.config.cluster,
                replica.group,
                replica.me or new_replica_id(node.rng),
                node.name,
                node.address,
                ROLE_NEWCOMER if link.state == FILLING else ROLE_MEMBER,
                node.time.wall_ms(),
                vector_pairs(replica.seen) if replica.me else [],
                replica.roster.line(replica.me),
            ),
        )

    def handle_hello(self, link: Link, hello: Hello) -> None:
        """The other side has said who it is.

        Raises:
            PeerError: it says it twice.
        """
        node, config = self._node, self._node.config
        if link.peer:
            raise PeerError("a second Hello on a link")
        link.peer, link.peer_name, link.peer_address = hello.replica, hello.name, hello.address
        if hello.replica == node.replica.me:
            node.joining.handle_self(link)
            node.close(link)
            return
        offset_ms = hello.wall_ms - node.time.wall_ms()
        if hello.cluster == config.cluster:
            node.meeting.compare_clocks(hello.replica, offset_ms, is_fresh=False)
        verdict = judge(hello, node.replica, config.cluster, offset_ms, config.clock_skew_max)
        if link.state == FILLING:
            if verdict is not None and verdict[0] in ("cluster", "protocol", "clock"):
                node.notify("error", "cannot join", address=link.address, code=verdict[0], reason=verdict[1])
                node.close(link)
            return
        if verdict is None and hello.role == ROLE_NEWCOMER and node.bootstrapping.greet(link, hello.address):
            return
        if verdict is None and not node.keeps_links():
            verdict = ("not yet", f"{config.name} is {node.state}")
        if verdict is None and link.greeted_as != node.replica.me:
            verdict = ("not yet", f"{config.name} has become a member since its Hello")
        if verdict is not None:
            code, reason = verdict
            if code not in ("not yet", "left", "presumed dead"):
                node.notify("warning", "refused a link", peer=hello.name, code=code, reason=reason)
            if code == "presumed dead":
                node.refuse(link, code, reason, *proof(node, hello.replica, hello.line))
            elif code == "not yet" and node.is_member() and node.rehabilitating.believes_stranger(hello.replica):
                link.refused = True  # it may know us by our gravestone: let it say so
                node.send(link, Refuse(code, reason, 0))
            else:
                node.refuse(link, code, reason)
        elif hello.role == ROLE_NEWCOMER:
            node.sponsoring.handle_newcomer(link, hello)
        else:
            self._link_up(link, hello)

    def _link_up(self, link: Link, hello: Hello) -> None:
        """Exchange with a peer from now on, unless another link to it is the one to keep: the one that the side with
        the lower id has opened, or else the later one."""
        node, me = self._node, self._node.replica.me
        other = node.linked.get(link.peer)
        if other is not None:
            first = min(me, link.peer)
            if other.is_initiated_by(me, first) and not link.is_initiated_by(me, first):
                node.close(link)
                return
        vector = dict(hello.vector)
        node.start_stream(link, vector)
        if other is not None:
            node.close(other)
        node.streaming.handle_began(link, me in vector)
        if link.stream is not None:
            link.stream.line = hello.line
        node.dialling.handle_linked(link.peer)
        node.notify("info", "linked", peer=link.peer_name, id=id_text(link.peer))

    def handle_refuse(self, link: Link, refusal: Refuse) -> None:
        """The other side will not go on with this link."""
        node = self._node
        if refusal.code == "presumed dead" and node.is_member() and node.rehabilitating.believes(link.peer):
            node.rehabilitating.begin(link, refusal)
        elif refusal.code == "presumed dead" and link.peer in node.replica.roster.members and node.joining.is_unsure:
            node.joining.handle_buried()
        elif refusal.code == "left" and node.state == LEAVING:
            node.leaving.told.add(link.peer)
        elif link.state == FILLING:
            node.joining.handle_refused(link, refusal.code, refusal.reason)
        elif refusal.code != "not yet":
            peer = link.peer_name or link.address
            node.notify("warning", "a link was refused", peer=peer, code=refusal.code, reason=refusal.reason)
        node.close(link)
