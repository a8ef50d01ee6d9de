"""A node driven by asyncio (floor 9): events in, effects out, nothing decided here.

Everything that touches the node (a message, a timer, a command of a client, a call of the Python face) runs under
`lock` and is followed by `settle`, which carries out the effects that it left, in order. One re-entrant lock serves
the server too, where nobody else wants it: taking it costs 50 ns, and there is one path to test.

A *turn*: the first command after a quiet moment calls `want_turn`, and at the next round of the loop `node.end_turn()`
closes the batch of everything that was written since, after the server has run what is to run in it
(`before_turn_end`). Then the server writes the answers (`on_turn_end`).
"""

import asyncio
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, ParamSpec, final

from marmoset.codec.channel import RANDOM_BYTES, Channel
from marmoset.codec.frames import FRAME_BYTES_LIMIT
from marmoset.codec.keyring import Keyring
from marmoset.codec.sealing import NO_KEYRING, SealError
from marmoset.config import Config
from marmoset.errors import PeerError
from marmoset.logs import described, log
from marmoset.node import Close, Dial, DropTimer, Exit, Node, Notify, Send, SendPacket, SetTimer
from marmoset.runtime.datagrams import Datagrams
from marmoset.runtime.keyring import KeyringFile
from marmoset.runtime.links import Link
from marmoset.runtime.news import News
from marmoset.runtime.sockets import BACKLOG, listen_twice, port_of
from marmoset.units import parse_address

P = ParamSpec("P")

STALL_CHECK_S: Final = 1.0
STALL_MIN_S: Final = 5.0
FLUSH_S: Final = 1.0
LEAVE_GRACE_S: Final = 2.0
_SLEEPLESS: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@final
class SystemTime:
    """The clocks of the machine."""

    __slots__ = ()

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back, since some moment. Those of a suspended machine count, where the system can
        tell: a node that slept must notice it."""
        return time.clock_gettime_ns(_SLEEPLESS) // 1_000_000

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000


@final
class Runtime:
    """One node on one event loop. Life: `open` (ports are taken, the node exists), `start`, `leave`, `close`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lock = threading.RLock()
        self.take_lock: Callable[[], object] = self.lock.acquire
        self.give_lock: Callable[[], None] = self.lock.release
        self.serving = asyncio.Event()
        self.last_problem = ""
        """The latest warning of the node, for a message about why it does not serve."""
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.node: Node
        self._loop = asyncio.get_running_loop()
        self._keyring: KeyringFile | None = None
        self._news = News(self._loop.time)
        self._links: dict[int, Link] = {}
        self._shaking: set[Link] = set()  # their channels are not open yet
        self._lingering: set[Link] = set()  # closed by the node, while what was written is still being sent
        self._link_last = 0
        self._listener: socket.socket | None = None
        self._bound: socket.socket | None = None
        self._datagrams: Datagrams | None = None
        self._server: asyncio.Server | None = None
        self._dialling: set[asyncio.Task[None]] = set()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._settling = False
        self._turn_wanted = False
        self.before_turn_end: Callable[[], None] | None = None
        """Called on the loop, under the lock, before the batch of a turn is closed: commands may run there."""
        self.on_turn_end: Callable[[], None] | None = None
        """Called at the end of each turn, on the loop."""
        self._closed = False

    # Life

    def open(self) -> None:
        """Take the gossip port and make the node. Nothing is sent before `start`.

        Raises:
            ListenError: the port cannot be listened on.
            UsageError: the keyring cannot be used.
        """
        if self.config.keyring:
            self._keyring = KeyringFile(self.config.keyring, self._ring_changed, self._keys_in_use)
        self._listener, self._bound = listen_twice(self.config.bind, self.config.gossip_port, "links between nodes")
        self.config = replace(self.config, gossip_port=port_of(self._listener))
        self.node = Node(self.config, SystemTime(), random.Random(secrets.randbits(128)))
        self.node.keyring = self._keyring

    async def start(self) -> None:
        """Accept links and begin or join a group. Raises `UsageError` when the node refuses its settings."""
        assert self._listener is not None and self._bound is not None
        self._datagrams = Datagrams(self._ring, self.config.cluster, self._on_packet, self._on_refused)
        await self._datagrams.open(self._bound)
        self._server = await self._loop.create_server(self._accept, sock=self._listener, backlog=BACKLOG)
        with self.lock:
            self.node.start()
            self.settle()
        self._loop.call_later(STALL_CHECK_S, self._check_stalled)

    async def live(self, stop: asyncio.Event, on_serving: Callable[[], None]) -> Exit:
        """Tell when the node serves, and wait for its end: its own, or by leaving once `stop` is set; how it ended."""
        serving = self._loop.create_task(self.serving.wait())
        stopped = self._loop.create_task(stop.wait())
        either: list[asyncio.Future[Any]] = [stopped, self.exited]
        try:
            await asyncio.wait([serving, *either], return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and not self.exited.done():
                on_serving()
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            stopped.cancel()
        return self.exited.result() if self.exited.done() else await self.leave()

    async def leave(self) -> Exit:
        """Leave the group and wait until that is known, or the node gives up; how it ended."""
        with self.lock:
            self.node.leave()
            self.settle()
        limit_s = self.config.leave_timeout / 1000 + LEAVE_GRACE_S
        done, _ = await asyncio.wait([self.exited], timeout=limit_s)
        if done:
            return self.exited.result()
        with self.lock:
            self.node.rehabilitating.tell_the_rest()
            self.settle()
        coming_back = self.node.rehabilitating.is_under_way
        lost = f", nor could it submit {self.node.rehabilitating.unsubmitted}" if coming_back else ""
        return Exit(1, f"leaving was not confirmed within {limit_s:g} s{lost}")

    async def close(self) -> None:
        """Send what is written, close links and port. Nothing reaches the node after it."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        elif self._listener is not None:
            self._listener.close()
        if self._datagrams is not None:
            self._datagrams.close()
        elif self._bound is not None:
            self._bound.close()
        for task in list(self._dialling):
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._lingering.update(self._links.values(), (link for link in self._shaking if link.transport is not None))
        self._links.clear()
        self._shaking.clear()
        for link in list(self._lingering):
            link.close()
        until = self._loop.time() + FLUSH_S
        while self._lingering and self._loop.time() < until:
            await asyncio.sleep(0.01)
        for link in list(self._lingering):
            link.abort()

    # Turns and effects

    def want_turn(self) -> None:
        """Close the open batch at the next round of the loop. Called on the loop."""
        if not self._turn_wanted:
            self._turn_wanted = True
            self._loop.call_soon(self._end_turn)

    def want_turn_from_thread(self) -> None:
        """The same from any thread, under the lock; the loop is woken once however many writes come before it runs."""
        if not self._turn_wanted:
            self._loop.call_soon_threadsafe(self._end_turn)
            self._turn_wanted = True  # now, since a signal handler may raise in between: better two turns than none

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` at the next round of the loop."""
        self._loop.call_soon(callback)

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> None:
        """Run `callback` after a delay."""
        self._loop.call_later(delay_ms / 1000, callback)

    def _end_turn(self) -> None:
        try:
            with self.lock:
                try:
                    if self.before_turn_end is not None and not self._closed:
                        self.before_turn_end()
                finally:
                    self._turn_wanted = False
                if not self._closed:
                    self.node.end_turn()
                    self.settle()
        finally:
            if self.on_turn_end is not None:
                self.on_turn_end()

    def _tell(self, event: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell the node of an event. A fault of ours is logged loudly and ends here: the data is in memory only, and a
        node that goes on with it is worth more than one that takes it along."""
        with self.lock:
            try:
                event(*args, **kwargs)
            except Exception as error:
                log("error", "internal error", {"event": getattr(event, "__name__", "?"), "why": repr(error)}, error)
            self.settle()

    def settle(self) -> None:
        """Carry out the effects that the node has left, in order. Called on the loop, under the lock."""
        if self._settling:  # an effect led to an event: the call that is under way goes on with what it left
            return
        self._settling = True
        try:
            while self.node.effects:
                effects = self.node.effects[:]
                self.node.effects.clear()
                for effect in effects:
                    if type(effect) is Send:
                        link = self._links.get(effect.link)
                        if link is not None:
                            link.write(effect.data)
                    elif type(effect) is SendPacket:
                        if self._datagrams is not None:
                            self._datagrams.send(effect.address, effect.data)
                    else:
                        self._carry_out(effect)
        finally:
            self._settling = False

    def _carry_out(self, effect: object) -> None:
        match effect:
            case SetTimer():
                timer = self._loop.call_later(effect.delay_ms / 1000, self._on_timer, effect.token)
                self._timers[effect.token] = timer
            case DropTimer():
                self._timers.pop(effect.token).cancel()
            case Dial():
                task = self._loop.create_task(self._dial(effect.address))
                self._dialling.add(task)
                task.add_done_callback(self._dialling.discard)
            case Close():
                link = self._links.pop(effect.link, None)  # the node does not want to hear of it again
                if link is not None:
                    self._lingering.add(link)
                    link.close()
            case Notify():
                if self._news.is_worth_telling(effect.event, effect.fields):
                    log(effect.level, effect.event, effect.fields)
                if effect.level in ("warning", "error"):
                    self.last_problem = described(effect.event, effect.fields)
                if self.node.state == "serving":
                    self.serving.set()
            case Exit():
                if not self.exited.done():
                    self.exited.set_result(effect)
            case _:
                raise AssertionError(f"no such effect: {effect!r}")

    # Datagrams

    def _on_packet(self, address: str, packet: bytes) -> None:
        if not self._closed:
            self._tell(self.node.handle_packet, address, packet)

    def _on_refused(self) -> None:
        with self.lock:
            self.node.counters["datagrams_refused"] += 1

    # Timers

    def _on_timer(self, token: int) -> None:
        del self._timers[token]
        if not self._closed:
            self._tell(self.node.handle_timer, token)

    def _check_stalled(self) -> None:
        """Drop links whose peer has taken nothing for long; their streams resume from version vectors."""
        if self._closed:
            return
        now = self._loop.time()
        limit_s = max(self.config.unreachable_after / 1000, STALL_MIN_S)
        for link in list(self._links.values()):
            stalled_s = link.stalled_s(now)
            if stalled_s > limit_s:
                log("warning", "link dropped", {"peer": link.peer, "why": f"it took no bytes for {stalled_s:.0f} s"})
                link.abort()
        self._loop.call_later(STALL_CHECK_S, self._check_stalled)

    # Links

    def _new_link(self, address: str) -> Link:
        self._link_last += 1
        config, randomness = self.config, secrets.token_bytes(RANDOM_BYTES)
        channel = Channel(self._ring, config.cluster, bool(address), randomness, FRAME_BYTES_LIMIT)
        link = Link(self, self._link_last, address, channel, config.link_buffer_max)
        self._shaking.add(link)
        return link

    @property
    def _ring(self) -> Keyring | None:
        return None if self._keyring is None else self._keyring.ring

    def _accept(self) -> Link:
        return self._new_link("")

    async def _dial(self, address: str) -> None:
        limit_s = self.config.reconnect_max / 1000
        link = self._new_link(address)
        try:
            host, port = parse_address(address)
            await asyncio.wait_for(self._loop.create_connection(lambda: link, host, port), timeout=limit_s)
        except (OSError, ValueError) as error:
            timed_out = isinstance(error, TimeoutError) and not error.args
            why = f"no answer within {limit_s:g} s" if timed_out else str(getattr(error, "strerror", None) or error)
            self._shaking.discard(link)
            if link.transport is None and not self._closed:  # else it was up for a moment, and is reported closed
                self._tell(self.node.handle_dial_failed, address, why)

    def link_opened(self, link: Link) -> None:
        """A link is up, asked for by the node or accepted."""
        self._shaking.discard(link)
        if self._closed:
            link.abort()
            return
        self._links[link.number] = link
        if link.address:
            self._tell(self.node.handle_dialled, link.number, link.address)
        else:
            self._tell(self.node.handle_accepted, link.number)

    def link_message(self, link: Link, payload: bytes) -> None:
        """One frame has arrived. A fault of ours ends the link: nothing of its stream may be skipped."""
        if not self._closed:
            with self.lock:
                try:
                    self.node.handle_message(link.number, payload)
                except Exception as error:
                    log("error", "internal error", {"peer": link.peer, "why": error}, error)
                    link.abort()
                self.settle()

    def link_paused(self, link: Link, paused: bool) -> None:
        """Too much waits on a link, or no longer."""
        if not self._closed:
            self._tell(self.node.handle_paused if paused else self.node.handle_resumed, link.number)

    def link_broken(self, link: Link, problem: PeerError) -> None:
        """A link has brought nothing that can be taken. One that the node knows is reported closed in the end."""
        is_known = link.number in self._links
        self._shaking.discard(link)
        if self._closed:
            return
        self._lingering.add(link)
        is_bad = is_known and not (isinstance(problem, SealError) and problem.reason == NO_KEYRING)
        with self.lock:
            self.node.counters["frames_bad" if is_bad else "handshakes_failed"] += 1
        peer = link.address or link.peer.rpartition(":")[0]
        if self._news.is_news(peer, str(problem)):
            log("warning", "link refused", {"peer": link.peer, "why": problem})
            self.last_problem = described("link refused", {"peer": link.peer, "why": problem})
        if link.address and not is_known:
            self._tell(self.node.handle_dial_failed, link.address, str(problem), answered=True)

    def _keys_in_use(self) -> list[bytes]:
        return [link.channel.key_id for link in self._links.values()]

    def _ring_changed(self) -> None:
        """End the links whose key is not in the ring any more; they are dialled again and agree on another."""
        ring = self._ring
        assert ring is not None
        if self._datagrams is not None:
            self._datagrams.use(ring)
        for link in list(self._links.values()):
            if ring.find(link.channel.key_id) is None:
                log("info", "link is made anew", {"peer": link.peer, "why": "its key was taken out of the keyring"})
                link.close()
        for link in list(self._shaking):
            link.give_up(PeerError("the keyring was read again"))

    def link_closed(self, link: Link) -> None:
        """A link is gone; the node is told unless it has closed it itself."""
        self._lingering.discard(link)
        self._shaking.discard(link)
        if self._links.pop(link.number, None) is not None and not self._closed:
            self._tell(self.node.handle_closed, link.number)

    @property
    def links(self) -> int:
        """How many links there are."""
        return len(self._links)
