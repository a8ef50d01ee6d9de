"""What clients do (beside the floors): commands as bytes of the Redis protocol, over a few keys of every type.

Each client holds one session with one run of a node. A turn of a client is a few commands, a transaction, a watched
transaction whose parts lie apart in time, or one of the probes:

- *pair*: two counters are incremented in one transaction only; whoever reads both sees them equal;
- *steps*: the clients of one host alone increment a counter; no read on one node ever sees it go back;
- *word*: a client reads a counter of another host and then writes down what it saw; whoever reads that sees the
  counter at least there.

The replies of probes are judged here. What the others read is judged by `checks`, against the specification.
"""

from random import Random
from typing import Final, final

import hiredis

from marmoset.codec.operations import (
    ChildOperation,
    Inside,
    MapAssign,
    MapIncrement,
    MapRemove,
    ScoreIncrement,
    ScoreRemove,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.node import Node
from marmoset.session import Session
from marmoset.sim.history import Breach
from marmoset.sim.host import Host
from marmoset.sim.profiles import Knobs
from marmoset.sim.specification import Plain, plain
from marmoset.sim.waits import Waiter

LETTERS: Final = [b"s", b"h", b"l", b"u", b"z"]
"""Strings, hashes, lists, sets, sorted sets: the first letter of a key says what it mostly holds."""
WORDS: Final = [b"a", b"b", b"c", b"dd", b"7", b"x" * 40]
SCORES: Final = [b"1", b"2.5", b"-3", b"1e3", b"0"]
NUMBERS: Final = [b"7", b"007", b"word", b"1.50", b"-3"]
CHILD_KINDS: Final[dict[type, str]] = {
    **dict.fromkeys((set, SplitSet), "set"),
    **dict.fromkeys((dict, SplitMap, NestedMap), "map"),
    SortedSet: "scores",
    Sequence: "list",
}
STRETCHES: Final = 0.1
"""So many of the turns are commands of one kind."""
PAIR: Final = (b"pair:1", b"pair:2")


def request(*args: bytes) -> bytes:
    """A request as the protocol has it."""
    return b"".join((b"*%d\r\n" % len(args), *(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)))


@final
class Client:
    """One connection to one run of a host."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.run = host.run
        self.session: Session = host.connect(number)
        self.number = number
        self.steps_seen: dict[bytes, int] = {}
        self.replica = 0
        self.watched: tuple[bytes, Plain | None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the node that it is connected to is still there."""
        return self.host.run == self.run and self.host.node is not None and not self.session.closing

    def value(self, key: bytes) -> Plain | None:
        """What a key of its node shows, beside the protocol."""
        assert self.host.node is not None
        value = self.host.node.replica.keyspace.get(key)
        return None if value is None else plain(value)


@final
class Workload:
    """All clients of a run."""

    def __init__(self, knobs: Knobs, rng: Random) -> None:
        self.knobs = knobs
        self.rng = rng
        self.clients: list[Client] = []
        self.refused = 0
        self.transactions = 0
        self.watches_touched = 0
        self.waiters: list[Waiter] = []
        self._numbers = 0

    def client(self, host: Host) -> Client:
        """A client of a host, an old one or a new one."""
        self.clients = [client for client in self.clients if client.is_alive]
        mine = [client for client in self.clients if client.host is host]
        if mine and (len(mine) >= 3 or self.rng.random() < 0.7):
            return self.rng.choice(mine)
        self._numbers += 1
        client = Client(host, self._numbers)
        self.clients.append(client)
        return client

    def turn(self, host: Host, hosts: list[str]) -> bytes:
        """One turn of some client of a host; the bytes of all replies, for the trace."""
        client, rng = self.client(host), self.rng
        dice = rng.random()
        if client.watched is not None:
            return self._watched_end(client) if dice < 0.5 else self._commands(client)
        if dice < 0.72:
            if rng.random() < self.knobs.nested_share:
                self._nested(host)
                return b""
            return self._commands(client)
        if dice < 0.78:
            return self._transaction(client)
        if dice < 0.82:
            return self._watched_begin(client)
        if dice < 0.87:
            return self._pair(client)
        if dice < 0.88:
            return self._wait(host)
        return self._steps(client) if dice < 0.94 else self._word(client, hosts)

    def _wait(self, host: Host) -> bytes:
        rng = self.rng
        self._numbers += 1
        waiter = Waiter(host, self._numbers)
        self.waiters.append(waiter)
        return waiter.begin(self._key(b"s"), rng.choice([1, 2, 3, 99]), rng.choice([1, 50, 1000]), self.knobs.turn_us)

    # -- conversation

    def _say(self, client: Client, data: bytes) -> tuple[list[object], bytes]:
        """Send bytes, sometimes in two pieces; the replies."""
        host = client.host
        if len(data) > 1 and self.rng.random() < 0.05:
            middle = self.rng.randrange(1, len(data))
            reply = host.command(client.session, data[:middle], self.knobs.turn_us)
            reply += host.command(client.session, data[middle:], self.knobs.turn_us)
        else:
            reply = host.command(client.session, data, self.knobs.turn_us)
        reader = hiredis.Reader()
        reader.feed(reply)
        replies: list[object] = []
        while (each := reader.gets()) is not False:
            replies.append(each)
            self._judge_error(client, each)
        return replies, reply

    def _judge_error(self, client: Client, reply: object) -> None:
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if "internal error" in text or text.startswith(("ERR Protocol", "ERR unknown")):
                raise Breach(f"{client.host.name} answers {text}")
            self.refused += text.startswith(("CLOCK", "LOADING", "OOM"))
        elif isinstance(reply, list):
            for each in reply:
                self._judge_error(client, each)

    def _commands(self, client: Client) -> bytes:
        if self.rng.random() < STRETCHES:
            commands = self._stretch()
        else:
            commands = [self.command() for _ in range(self.rng.randint(1, self.knobs.commands_max))]
        return self._say(client, b"".join(request(*command) for command in commands))[1]

    def _stretch(self) -> list[list[bytes]]:
        """Commands of one kind in a row, which stand in the log as runs."""
        rng = self.rng
        letter, verb, *parts = rng.choice(
            [
                (b"s", b"SET"),
                (b"s", b"INCRBY"),
                (b"u", b"SADD"),
                (b"h", b"HSET", b"f"),
                (b"z", b"ZADD", b"2"),
                (b"l", b"LPUSH"),
                (b"l", b"RPUSH"),
                (b"l", b"LPUSH"),
                (b"l", b"RPUSH"),
            ]
        )
        keys = [self._key(letter)] if rng.random() < 0.7 else [self._key(letter) for _ in range(3)]
        count = rng.randint(2, 8)
        return [[verb, rng.choice(keys), *parts, b"%d" % rng.randrange(100)] for _ in range(count)]

    def _transaction(self, client: Client) -> bytes:
        rng = self.rng
        commands = [request(*self.command()) for _ in range(rng.randint(2, 5))]
        return self._exec(client, commands)[1]

    def _exec(self, client: Client, commands: list[bytes]) -> tuple[list[object], bytes]:
        """MULTI, some commands, EXEC; what they wrote is to be seen whole."""
        assert client.host.node is not None
        replica, history = client.host.node.replica, client.host.history
        me, first = replica.me, replica.next_seq
        replies, raw = self._say(client, b"".join((request(b"MULTI"), *commands, request(b"EXEC"))))
        self.transactions += 1
        history.add_whole(me, first, replica.next_seq - 1)
        return replies, raw

    def _watched_begin(self, client: Client) -> bytes:
        key = self._key(self.rng.choice(LETTERS))
        raw = self._say(client, request(b"WATCH", key))[1]
        client.watched = (key, client.value(key))
        return raw

    def _watched_end(self, client: Client) -> bytes:
        """EXEC runs only if the key is as it was when it was watched."""
        assert client.watched is not None
        (key, before), client.watched = client.watched, None
        now = client.value(key)
        replies, raw = self._exec(client, [request(b"INCR", self._key(b"s"))])
        if replies[-1] is None:
            self.watches_touched += 1
        elif isinstance(replies[-1], list) and now != before:
            raise Breach(f"{client.host.name} runs EXEC though the watched {key!r} went from {before!r} to {now!r}")
        return raw

    def _nested(self, host: Host) -> None:
        """A program writes to a collection in a field of a map, which the protocol cannot."""
        node = host.node
        assert node is not None
        if node.refusal(True) is not None:
            self.refused += 1
            return
        rng = self.rng
        key = self._key(b"h")
        path = [rng.choice(WORDS[: self.knobs.words]) for _ in range(rng.choice([1, 1, 2]))]
        child: object = node.replica.keyspace.get(key)
        for field in path:
            if child is not None and not isinstance(child, (dict, SplitMap, NestedMap)):
                return  # another kind answers there
            child = None if child is None else child.get(field)
        operation = self._child_operation(child)
        if operation is not None:
            host.program(lambda node: self._submit(node, Inside(key, path, operation)), self.knobs.turn_us)

    @staticmethod
    def _submit(node: Node, operation: Inside) -> None:
        node.replica.submit(operation)

    def _child_operation(self, child: object) -> ChildOperation | None:
        rng = self.rng
        some = rng.sample(WORDS[: self.knobs.words], rng.randint(1, 2))
        removes = rng.random() < self.knobs.removal_share
        kind = rng.choice(["set", "map", "scores", "list"])
        if child is not None:  # what is there decides; fields get several kinds by concurrent creation all the same
            kind = CHILD_KINDS.get(type(child), "")
        if not kind:
            return None
        if kind == "set":
            return SetRemove(b"", some) if removes else SetAdd(b"", some)
        if kind == "map":
            if removes:
                return MapRemove(b"", some)
            if rng.random() < 0.5:
                return MapIncrement(b"", some[0], 1)
            return MapAssign(b"", [some[0], rng.choice(NUMBERS)])
        if kind == "scores":
            return ScoreRemove(b"", some) if removes else ScoreIncrement(b"", some[0], "0.5")
        size = len(child) if isinstance(child, Sequence) else 0
        if isinstance(child, Sequence) and size and removes:
            start = rng.randrange(size)
            return SequenceRemove(b"", child.ranges(start, min(size, start + rng.randint(1, 3))))
        left, right = child.neighbours(rng.randint(0, size)) if isinstance(child, Sequence) else (None, None)
        return SequenceInsert(b"", left, right, [b"%d" % rng.randrange(100) for _ in range(rng.choice([1, 3]))])

    # -- probes

    def _pair(self, client: Client) -> bytes:
        if self.rng.random() < 0.5:
            return self._exec(client, [request(b"INCR", key) for key in PAIR])[1]
        replies, raw = self._say(client, request(b"MGET", *PAIR))
        values = replies[0]
        if isinstance(values, list) and values[0] != values[1] and not self.knobs.evicts:
            raise Breach(f"{client.host.name} shows one transaction in part: the pair reads {values}")
        return raw

    def _steps(self, client: Client) -> bytes:
        return self._say(client, request(b"INCR", b"steps:" + client.host.name.encode()))[1]

    def _word(self, client: Client, hosts: list[str]) -> bytes:
        rng = self.rng
        here = client.host.name.encode()
        counter = b"steps:" + rng.choice(hosts).encode()
        if rng.random() < 0.5:
            replies, raw = self._say(client, request(b"GET", counter))
            self._judge_step(client, counter, replies[0])
            if isinstance(replies[0], bytes):
                raw += self._say(client, request(b"SET", b"word:" + here, counter + b" " + replies[0]))[1]
            return raw
        word = b"word:" + rng.choice(hosts).encode()
        replies, raw = self._say(client, request(b"GET", word))
        if isinstance(replies[0], bytes):
            counter, seen = replies[0].split(b" ")
            replies, more = self._say(client, request(b"GET", counter))
            raw += more
            now = replies[0]
            exact = (
                self.knobs.keeps_counters and not client.host.history.exiles
            )  # who comes back brings what it wrote alone
            if not isinstance(now, hiredis.ReplyError) and exact:
                if not isinstance(now, bytes) or int(now) < int(seen):
                    raise Breach(f"{client.host.name} reads {counter!r} as {now!r}, though {word!r} had seen {seen!r}")
                self._judge_step(client, counter, now)
        return raw

    def _judge_step(self, client: Client, counter: bytes, reply: object) -> None:
        """A counter that nobody resets never goes back for one client."""
        if isinstance(reply, hiredis.ReplyError) or not self.knobs.keeps_counters:
            return
        now = int(reply) if isinstance(reply, bytes) else 0
        assert client.host.node is not None
        if client.replica != client.host.node.replica.me:  # presumed dead since: what it had of others may be gone
            own = b"steps:" + client.host.name.encode()
            client.steps_seen = {own: client.steps_seen.get(own, 0)}
            client.replica = client.host.node.replica.me
        before = client.steps_seen.get(counter, 0)
        if now < before:
            raise Breach(f"a client of {client.host.name} reads {counter!r} as {now} after {before}")
        client.steps_seen[counter] = now

    # -- commands

    def _key(self, letter: bytes) -> bytes:
        return letter + b"%d" % self.rng.randrange(self.knobs.keys)

    def command(self) -> list[bytes]:
        """One command on some key, seldom on one of another type."""
        rng, knobs = self.rng, self.knobs
        if knobs.flush_share and rng.random() < knobs.flush_share:
            return [b"FLUSHALL"]
        kind = rng.choice([*LETTERS, b"l"])
        if knobs.focus and rng.random() < 0.7:
            kind = knobs.focus.encode()
        key = self._key(kind)
        if rng.random() < knobs.expiry_share:
            return self._on_deadline(key)
        if rng.random() < knobs.conflict_share:
            key = self._key(rng.choice(LETTERS))
            if rng.random() < 0.5:
                return [b"DEL", key]
        removes = rng.random() < knobs.removal_share
        if kind == b"s":
            return self._on_string(key, removes)
        if kind == b"u":
            return self._on_set(key, removes)
        if kind == b"z":
            return self._on_sorted_set(key, removes)
        return self._on_hash(key, removes) if kind == b"h" else self._on_list(key, removes)

    def _on_deadline(self, key: bytes) -> list[bytes]:
        rng = self.rng
        soon = b"%d" % rng.choice([50, 400, 2000, 4000, 3_600_000])
        string = self._key(b"s")
        return rng.choice(
            [
                [b"PEXPIRE", key, soon],
                [b"PEXPIRE", key, soon, b"GT"],
                [b"PERSIST", key],
                [b"PSETEX", string, soon, rng.choice(NUMBERS)],
                [b"SET", string, rng.choice(NUMBERS), b"KEEPTTL"],
                [b"SET", string, rng.choice(NUMBERS), b"PX", soon],
                [b"PTTL", key],
            ]
        )

    def _on_string(self, key: bytes, removes: bool) -> list[bytes]:
        rng = self.rng
        if removes:
            return rng.choice(
                [[b"SET", key, rng.choice(NUMBERS)], [b"DEL", key], [b"GETSET", key, rng.choice(NUMBERS)]]
            )
        return rng.choice(
            [
                [b"INCR", key],
                [b"INCRBY", key, b"%d" % rng.randint(-9, 9)],
                [b"INCRBYFLOAT", key, rng.choice([b"0.1", b"-2.5", b"3", b"0." + b"123456789" * 4])],
                [b"SET", key, rng.choice(NUMBERS)],
                [b"APPEND", key, b"z"],
                [b"GET", key],
                [b"MSET", key, rng.choice(NUMBERS), self._key(b"s"), rng.choice(NUMBERS)],
            ]
        )

    def _on_set(self, key: bytes, removes: bool) -> list[bytes]:
        rng = self.rng
        some = rng.sample(WORDS[: self.knobs.words], rng.randint(1, 2))
        if removes:
            return rng.choice(
                [[b"SREM", key, *some], [b"SREM", key, *some], [b"SPOP", key], [b"SPOP", key, b"2"], [b"DEL", key]]
            )
        return rng.choice(
            [
                [b"SADD", key, *some],
                [b"SADD", key, *some],
                [b"SADD", key, *(b"%d" % rng.randrange(1000) for _ in range(rng.randint(1, 8)))],
                [b"SMOVE", key, self._key(b"u"), some[0]],
                [b"SUNIONSTORE", key, key, self._key(b"u")],
                [b"SDIFFSTORE", key, self._key(b"u"), key],
                [b"SISMEMBER", key, some[0]],
                [b"SMEMBERS", key],
                [b"SRANDMEMBER", key, b"2"],
                [b"SSCAN", key, b"0"],
            ]
        )

    def _on_sorted_set(self, key: bytes, removes: bool) -> list[bytes]:
        rng = self.rng
        some = rng.sample(WORDS[: self.knobs.words], rng.randint(1, 2))
        if removes:
            return rng.choice(
                [[b"ZREM", key, *some], [b"ZREM", key, *some], [b"ZPOPMIN", key], [b"ZPOPMAX", key], [b"DEL", key]]
            )
        pairs = [part for member in some for part in (rng.choice(SCORES), member)]
        return rng.choice(
            [
                [b"ZADD", key, *pairs],
                [b"ZADD", key, *pairs],
                [b"ZADD", key, b"GT", *pairs],
                [b"ZINCRBY", key, rng.choice([b"1", b"0.1", b"-2.5"]), some[0]],
                [b"ZINCRBY", key, b"2", some[0]],
                [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
                [b"ZSCORE", key, some[0]],
                [b"ZRANK", key, some[0]],
            ]
        )

    def _on_hash(self, key: bytes, removes: bool) -> list[bytes]:
        rng = self.rng
        some = rng.sample(WORDS[: self.knobs.words], rng.randint(1, 2))
        if removes:
            return rng.choice([[b"HDEL", key, *some], [b"HDEL", key, *some], [b"HDEL", key, *some], [b"DEL", key]])
        pairs = [part for field in some for part in (field, rng.choice(NUMBERS))]
        return rng.choice(
            [
                [b"HSET", key, *pairs],
                [b"HSET", key, *pairs],
                [b"HINCRBY", key, some[0], b"2"],
                [b"HINCRBYFLOAT", key, some[0], b"0.25"],
                [b"HSETNX", key, some[0], b"1"],
                [b"HGETALL", key],
                [b"HSCAN", key, b"0"],
            ]
        )

    def _on_list(self, key: bytes, removes: bool) -> list[bytes]:
        rng = self.rng
        value = b"%d" % rng.randrange(100)
        if removes:
            return rng.choice(
                [
                    [b"LPOP", key],
                    [b"RPOP", key],
                    [b"LPOP", key, b"3"],
                    [b"LTRIM", key, b"1", b"-2"],
                    [b"LREM", key, rng.choice([b"0", b"1", b"-2"]), value],
                    [b"LTRIM", key, b"0", b"15"],
                    [b"RPOPLPUSH", key, self._key(b"l")],
                    [b"DEL", key],
                ]
            )
        return rng.choice(
            [
                [b"RPUSH", key, value],
                [b"RPUSH", key, value, b"p", b"q"],
                [b"LPUSH", key, value],
                [b"LINSERT", key, b"BEFORE", value, b"n"],
                [b"LINSERT", key, b"AFTER", b"p", b"m"],
                [b"LINSERT", key, b"AFTER", b"p", b"o"],
                [b"LSET", key, b"%d" % rng.randint(-3, 3), b"s" + value],
                [b"LRANGE", key, b"0", b"-1"],
                [b"LINDEX", key, b"1"],
            ]
        )
