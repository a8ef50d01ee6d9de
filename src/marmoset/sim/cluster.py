"""The hosts of a run (beside the floors), and what was counted."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, final

from marmoset.codec.keyring import Key, Keyring
from marmoset.config import Config
from marmoset.node import Exit, Node, Notify
from marmoset.sim.history import History
from marmoset.sim.host import Host
from marmoset.sim.network import Network
from marmoset.sim.profiles import Knobs
from marmoset.sim.trace import Trace
from marmoset.sim.world import World

FIRST_PORT: Final = 7000


@final
class Cluster:
    """All machines, one network, one clock."""

    def __init__(self, seed: int, knobs: Knobs, trace: Trace) -> None:
        self.seed = seed
        self.knobs = knobs
        self.trace = trace
        self.world = World()
        self.history = History()
        self.network = Network(self.world, Random(f"{seed} network"), knobs.conditions, trace)
        self.rng = Random(f"{seed} cluster")
        self.hosts: list[Host] = []
        self.counts: Counter[str] = Counter()
        self.on_exit: Callable[[Cluster, Host, Exit], None] = lambda cluster, host, effect: None
        self.on_notify: Callable[[Cluster, Host, Notify], None] = lambda cluster, host, notice: None

    def add_host(self) -> Host:
        """A new machine, whose node joins by the addresses of a few others; the first one begins the group."""
        knobs, number = self.knobs, len(self.hosts)
        config = Config(
            name=f"n{number}",
            bind="127.0.0.1",
            port=0,
            gossip_port=FIRST_PORT + number,
            gossip_interval=knobs.gossip_interval_ms,
            unreachable_after=knobs.unreachable_after_ms,
            join_timeout=knobs.join_timeout_ms,
            reconnect_max=2000,
            frame_bytes_max=knobs.frame_bytes_max,
            link_buffer_max=knobs.link_buffer_max,
            log_budget=knobs.log_budget,
            maxmemory=knobs.maxmemory,
            maxmemory_policy="evict-replicated" if knobs.evicts else "noeviction",
            batch_operations_max=knobs.batch_operations_max,
            split_above=knobs.split_above,
            presumed_dead_quorum=knobs.quorum,
            presumed_dead_after=knobs.presumed_dead_after_ms,
            rehabilitation_memory=knobs.rehabilitation_memory,
            budget_grace=knobs.budget_grace_ms,
            replicas_max=256,
        )
        rng = Random(f"{self.seed} host {number}")
        keyring = Keyring([Key(Random(f"{self.seed} key").randbytes(32))]) if knobs.sealed else None
        host = Host(self.world, self.network, self.history, config, rng, self._prepare, keyring)
        host.on_exit = lambda host, effect: self.on_exit(self, host, effect)
        host.on_notify = lambda host, notice: self.on_notify(self, host, notice)
        join = self.addresses()
        self.hosts.append(host)
        if number < knobs.nodes and knobs.bootstrap_expect:
            host.start(tuple(f"127.0.0.1:{FIRST_PORT + n}" for n in range(knobs.nodes)), knobs.bootstrap_expect)
        else:
            host.start(join)
        return host

    def _prepare(self, node: Node) -> None:
        node.fold_pace.least = node.fold_pace.most = self.knobs.fold_budget
        node.drain_bytes = self.knobs.drain_bytes
        node.replica.chain.length_max = self.knobs.chain_max
        node.replica.chain.step_operations = self.knobs.chain_step
        notes = node.replica.keyspace.notes
        notes.busy_operations = min(notes.busy_operations, 1 + self.knobs.chain_step)
        node.pump_bytes = self.knobs.pump_bytes
        node.streaming.report_operations = self.knobs.report_operations
        if self.knobs.pace_ms:
            node.streaming.pace.pace_ms, node.streaming.pace.fast_per_ms = self.knobs.pace_ms, 0
        node.snapshot_step_elements = self.knobs.snapshot_step_elements
        node.rehabilitating.submit_operations = self.knobs.submit_operations

    def addresses(self, without: Host | None = None) -> tuple[str, ...]:
        """Addresses to join by: a few hosts that are up, or any."""
        up = [host.address for host in self.hosts if host is not without and host.is_serving]
        known = up or [host.address for host in self.hosts if host is not without]
        return tuple(self.rng.sample(known, min(3, len(known))))

    def is_any_up(self, addresses: tuple[str, ...]) -> bool:
        """Whether there is a node on any of some addresses; no addresses are needed by who begins the group."""
        return not addresses or any(self.network.hosts[address].node is not None for address in addresses)

    def restart(self, host: Host) -> str:
        """Start a new node on a machine whose node is gone, under the same name."""
        join = self.addresses(host)
        if not join:
            return ""
        self.counts["restarts"] += 1
        host.start(join)
        return host.name

    def serving(self) -> list[Host]:
        """The hosts whose nodes serve and handle what comes."""
        return [host for host in self.hosts if host.is_serving and not host.is_stopped]
