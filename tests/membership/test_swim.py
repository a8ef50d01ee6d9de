"""SWIM's machine, rule by rule: one machine, with the packets of others made by hand."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.packets import (
    PACKET_ROOM,
    SAYS_ALIVE,
    SAYS_LEFT,
    SAYS_SUSPECT,
    SAYS_UNREACHABLE,
    Ack,
    Announcement,
    AnyBody,
    AnyUpdate,
    Claim,
    Details,
    Gone,
    Nack,
    Packet,
    Ping,
    PingRequest,
    Rumours,
    decode_packet,
    encode_head,
    encode_update,
    join_updates,
)
from marmoset.membership.effects import Announced, Exchange, ProbeLink, SendPacket
from marmoset.membership.peers import BY_HELPER, BY_LINK, PROBE_FAILED, REPLACED
from marmoset.membership.profiles import LAN, Profile
from marmoset.membership.states import ALIVE, SUSPECT, UNREACHABLE
from marmoset.membership.swim import Swim

ME = 1
DETAILS = Details("ada", "10.0.0.1:7946", "10.0.0.1:6379", "1.0")


class Bench:
    """One machine and the time."""

    def __init__(self, others: int = 4, profile: Profile = LAN, details: Details | None = None, seed: int = 1) -> None:
        self.now = 0
        self.swim = Swim(ME, "c", profile, Random(seed), 0, details)
        for replica in range(2, others + 2):
            self.swim.add(replica, 0, address(replica))

    def take(self) -> list[tuple[str, Packet]]:
        """What it sends, and nothing else."""
        sent = [(e.address, decode_packet(e.data)) for e in self.swim.effects if isinstance(e, SendPacket)]
        self.swim.effects[:] = [e for e in self.swim.effects if not isinstance(e, SendPacket)]
        return sent

    def run(self, ms: int) -> list[tuple[str, Packet]]:
        """Let time pass, tick by tick; what it sent."""
        end = self.now + ms
        while self.swim.due_ms <= end:
            self.now = max(self.now, self.swim.due_ms)
            self.swim.tick(self.now)
        self.now = end
        return self.take()

    def probe(self) -> tuple[int, int]:
        """Run until the next probe begins: its target and seq. Every other packet is lost."""
        while True:
            for _, packet in self.run(max(0, self.swim.due_ms - self.now)):
                if isinstance(packet.body, Ping) and self.swim.state(packet.body.target) != UNREACHABLE:
                    return packet.body.target, packet.body.seq

    def hear(self, sender: int, body: AnyBody, *updates: AnyUpdate, incarnation: int = 0, cluster: str = "c") -> None:
        head = encode_head(cluster, sender, incarnation, body)
        data = join_updates(head, [encode_update(update) for update in updates])
        self.swim.handle_packet(address(sender), data, self.now)
        self.swim._check()


def address(replica: int) -> str:
    return f"10.0.0.{replica}:7946"


def test_an_ack_in_time_is_all_that_a_probe_wants() -> None:
    bench = Bench()
    target, seq = bench.probe()
    bench.hear(target, Ack(seq, target, 0))
    sent = bench.run(LAN.probe_interval_ms - 1)
    assert sent == [] and not any(isinstance(e, ProbeLink) for e in bench.swim.effects)
    assert bench.swim.state(target) == ALIVE and bench.swim.health.score == 0


def test_without_an_ack_helpers_are_asked_and_a_link_is_tried_then_it_is_suspected() -> None:
    bench = Bench(others=5)
    target, seq = bench.probe()
    sent = bench.run(LAN.probe_timeout_ms)
    assert sorted(to for to, _ in sent) == sorted({to for to, _ in sent}) and len(sent) == 3
    assert all(packet.body == PingRequest(seq, target) and to != address(target) for to, packet in sent)
    assert ProbeLink(target) in bench.swim.effects
    bench.run(LAN.probe_interval_ms - LAN.probe_timeout_ms - 1)
    assert bench.swim.state(target) == ALIVE
    bench.run(1)
    assert bench.swim.state(target) == SUSPECT
    assert [e.what for e in bench.swim.evidence(target)][:1] == [PROBE_FAILED]
    assert bench.swim.health.score == 3, "three helpers owed a nack"


def test_each_helper_that_says_it_has_heard_nothing_speaks_for_our_own_health() -> None:
    bench = Bench(others=5)
    target, seq = bench.probe()
    helpers = [int(to.split(".")[3].split(":")[0]) for to, _ in bench.run(LAN.probe_timeout_ms)]
    for helper in helpers:
        bench.hear(helper, Nack(seq))
    bench.hear(99, Nack(seq))
    bench.run(LAN.probe_interval_ms)
    assert bench.swim.state(target) == SUSPECT and bench.swim.health.score == 0


def test_trouble_of_our_own_makes_periods_and_timeouts_longer() -> None:
    bench = Bench(others=5)
    bench.swim.health.note(3)
    bench.probe()
    assert bench.run(4 * LAN.probe_timeout_ms - 1) == []
    assert len(bench.run(1)) == 3
    bench.swim.health.score = 0  # whatever happens now, this period keeps its length
    assert bench.run(4 * (LAN.probe_interval_ms - LAN.probe_timeout_ms) - 1) == []


def test_an_answer_through_a_helper_or_over_a_link_is_one() -> None:
    for by_link in (False, True):
        bench = Bench(others=5)
        target, seq = bench.probe()
        helper = int(bench.run(LAN.probe_timeout_ms)[0][0].split(".")[3].split(":")[0])
        if by_link:
            bench.swim.handle_link_heard(target, bench.now)
        else:
            bench.hear(next(r for r in range(2, 7) if r not in (helper, target)), Ack(seq + 1, target, 0))
            bench.hear(helper, Ack(seq, target, 0))
        bench.run(LAN.probe_interval_ms - LAN.probe_timeout_ms)
        assert bench.swim.state(target) == ALIVE
        assert [e.what for e in bench.swim.evidence(target)] == [BY_LINK if by_link else BY_HELPER]


def test_what_is_heard_over_a_link_before_others_were_asked_ends_no_probe() -> None:
    bench = Bench()
    target, _ = bench.probe()
    bench.swim.handle_link_heard(target, bench.now)  # it may have been under way for long
    bench.run(LAN.probe_interval_ms)
    assert bench.swim.state(target) == SUSPECT


def test_only_helpers_that_were_asked_may_answer_for_a_target() -> None:
    bench = Bench(others=12)
    target, seq = bench.probe()
    asked = {to for to, _ in bench.run(LAN.probe_timeout_ms)}
    other = next(r for r in range(2, 14) if address(r) not in asked and r != target)
    bench.hear(other, Ack(seq, target, 5))
    bench.run(LAN.probe_interval_ms - LAN.probe_timeout_ms)
    assert bench.swim.state(target) == SUSPECT


def test_a_ping_is_answered_by_its_target_alone() -> None:
    bench = Bench()
    bench.hear(2, Ping(7, ME))
    assert bench.take() == [(address(2), Packet(1, "c", ME, 0, Ack(7, ME, 0), []))]
    bench.hear(2, Ping(8, 4711))
    assert [packet.body for _, packet in bench.take()] == [Gone(8, 4711)]
    bench.hear(88, Ping(9, ME))
    assert [packet.body for _, packet in bench.take()] == [Ack(9, ME, 0)], (
        "a stranger may be a member that we get to know"
    )
    bench.hear(88, Ping(9, 4711))
    assert bench.take() == []
    assert bench.swim.counters["packets_misaddressed"] == 2


def test_another_replica_at_its_address_proves_that_the_target_is_gone() -> None:
    bench = Bench()
    target, seq = bench.probe()
    successor = 500 + target
    gone = join_updates(encode_head("c", successor, 0, Gone(seq, target)), [])
    bench.swim.handle_packet("10.9.9.9:7946", gone, bench.now)
    assert bench.swim.state(target) == ALIVE, "said from somewhere else, it proves nothing"
    bench.swim.handle_packet(address(target), gone, bench.now)
    assert bench.swim.state(target) == UNREACHABLE
    assert [e.what for e in bench.swim.evidence(target)] == [REPLACED]


def test_a_helper_relays_the_answer_and_says_when_there_is_none() -> None:
    bench = Bench(others=5)
    bench.hear(2, PingRequest(40, 3))
    [(to, packet)] = bench.take()
    assert to == address(3) and isinstance(packet.body, Ping) and packet.body.target == 3
    bench.hear(3, Ack(packet.body.seq, 3, 6), incarnation=6)
    [(to, packet)] = bench.take()
    assert (to, packet.body) == (address(2), Ack(40, 3, 6))
    bench.run(LAN.probe_interval_ms)
    bench.hear(2, PingRequest(41, 3))
    bench.take()
    assert Nack(41) in [packet.body for _, packet in bench.run(LAN.probe_timeout_ms)]
    bench.hear(2, PingRequest(42, 4711))
    assert [packet.body for _, packet in bench.take()] == [Nack(42)]
    bench.hear(2, PingRequest(43, ME))
    assert [packet.body for _, packet in bench.take()] == [Ack(43, ME, 0)]
    bench.hear(88, PingRequest(44, 3))
    assert bench.take() == [], "nobody is pinged for a stranger"


def test_the_suspect_is_told_first_whenever_it_is_spoken_to() -> None:
    bench = Bench(others=1)
    bench.hear(2, Rumours())
    bench.swim.view.suspect(bench.swim.peers[2], 0, ME, bench.now)
    for seq in range(60):  # the rumour is spent long before
        bench.hear(2, Ping(seq, ME))
        assert bench.take()[0][1].updates == [Claim(SAYS_SUSPECT, 2, 0, ME)]
    assert bench.run(600)[0][1].updates == [Claim(SAYS_SUSPECT, 2, 0, ME)], "a ping too"
    bench.run(LAN.probe_interval_ms * 40)
    bench.hear(2, Ping(5, ME))
    assert bench.take()[0][1].updates[0] == Claim(SAYS_UNREACHABLE, 2, 0, ME)


def test_a_refutation_comes_with_the_very_ack() -> None:
    bench = Bench()
    bench.hear(2, Ping(5, ME), Claim(SAYS_SUSPECT, ME, 0, 2))
    [(_, packet)] = bench.take()
    assert packet.incarnation == 1 and packet.body == Ack(5, ME, 1)
    other = Bench()
    other.swim.view.suspect(other.swim.peers[2], 0, ME, 0)
    other.hear(2, Ack(99, 2, 1), incarnation=1)
    assert other.swim.state(2) == ALIVE


def test_unreachable_members_are_tried_for_ever_in_turn_at_a_slower_pace() -> None:
    bench = Bench(others=2)
    for replica in (2, 3):
        bench.swim.view.found_unreachable(bench.swim.peers[replica], 0, ME, 0)
    day = 86_400_000
    bench.now = day
    bench.swim._notice_pause(day)
    tried: dict[int, int] = {}
    for _, packet in bench.run(100 * LAN.retry_interval_ms):
        if isinstance(packet.body, Ping):
            tried[packet.body.target] = tried.get(packet.body.target, 0) + 1
    assert 60 < sum(tried.values()) < 140
    assert abs(tried[2] - tried[3]) <= 1


def test_who_comes_back_is_asked_for_what_passed_meanwhile() -> None:
    bench = Bench(others=2)
    bench.swim.view.found_unreachable(bench.swim.peers[2], 0, ME, 0)
    bench.run(7000)
    assert bench.swim.unreachable_ms(2, 7000) == 7000
    assert bench.swim.unreachable_ms(2, 700_000) == 0, "nobody ticks: what was seen may not be true any more"
    bench.hear(2, Rumours(), incarnation=1)
    assert bench.swim.state(2) == ALIVE and bench.swim.unreachable_ms(2, 7000) == 0
    assert Exchange(2) in bench.swim.effects


def test_digests_are_exchanged_now_and_then() -> None:
    bench = Bench()
    for _ in range(10):
        bench.run(LAN.exchange_interval_ms)
        for replica in bench.swim.peers:
            bench.swim.merge([(replica, 0)], replica, bench.now)
    exchanges = [e for e in bench.swim.effects if isinstance(e, Exchange)]
    assert len(exchanges) <= 20 and bench.swim._exchange_ms > bench.now


def test_a_stopped_process_blames_nobody() -> None:
    bench = Bench(others=5)
    target, _ = bench.probe()
    bench.swim.view.suspect(bench.swim.peers[3 if target != 3 else 4], 0, 2, bench.now)
    bench.now += 3_600_000
    bench.swim.tick(bench.now)
    bench.run(LAN.probe_timeout_ms - 1)
    assert UNREACHABLE not in {bench.swim.state(r) for r in bench.swim.peers}
    assert bench.swim.state(target) == ALIVE
    assert bench.swim.silent_ms(target, bench.now) < 3000
    assert bench.swim.counters["pauses"] == 1


def test_packets_that_waited_while_we_were_stopped_count_as_one_pause() -> None:
    bench = Bench()
    bench.probe()
    bench.now += 60_000
    for replica in (2, 3, 4, 2, 3):
        bench.hear(replica, Rumours())
    bench.swim.tick(bench.now)
    assert bench.swim.counters["pauses"] == 1


def test_who_has_nothing_due_for_long_notices_that_it_slept() -> None:
    """Where periods are stretched, no tick would be lost: what was seen before counts no more all the same."""
    bench = Bench(others=1, profile=replace(LAN, retry_interval_ms=60_000, exchange_interval_ms=60_000))
    bench.swim.view.found_unreachable(bench.swim.peers[2], 0, ME, 0)
    bench.swim.health.note(LAN.health_max)
    bench.run(5000)
    assert bench.swim.unreachable_ms(2, bench.now) == 5000 and bench.swim.counters["pauses"] == 0
    assert bench.swim._period_ms > bench.now + 6 * LAN.probe_interval_ms
    bench.now += 5 * LAN.probe_interval_ms
    assert bench.swim.unreachable_ms(2, bench.now) == 0
    bench.swim.tick(bench.now)
    bench.run(100)
    assert bench.swim.unreachable_ms(2, bench.now) == 100 and bench.swim.counters["pauses"] == 1


def test_a_tick_that_comes_late_gives_the_answer_time_to_be_read_once() -> None:
    bench = Bench()
    target, seq = bench.probe()
    bench.run(LAN.probe_interval_ms - 1)
    bench.now += 150
    bench.swim.tick(bench.now)
    assert bench.swim.state(target) == ALIVE
    bench.hear(target, Ack(seq, target, 0))
    bench.run(LAN.probe_timeout_ms)
    assert bench.swim.state(target) == ALIVE
    late, _ = bench.probe()
    for _ in range(10):
        bench.now = bench.swim.due_ms + 150
        bench.swim.tick(bench.now)
    assert bench.swim.state(late) != ALIVE, "being late always does not excuse others for ever"


def test_a_lost_link_has_its_member_probed_next() -> None:
    for replica in range(2, 14):
        bench = Bench(others=12)
        bench.swim.handle_link_lost(replica)
        assert bench.probe()[0] == replica


def test_a_stranger_makes_us_ping_nobody_and_is_counted() -> None:
    bench = Bench()
    bench.hear(99, PingRequest(1, 3))
    assert not bench.take() and bench.swim.counters["packets_foreign"] == 1


def test_a_packet_that_brings_a_member_back_twenty_times_asks_for_one_exchange() -> None:
    bench = Bench(others=1)
    updates: list[AnyUpdate] = []
    for incarnation in range(20):
        updates += [Claim(SAYS_LEFT, 2, incarnation, 2), Claim(SAYS_ALIVE, 2, incarnation + 1, 2)]
    bench.hear(2, Rumours(), *updates)
    assert bench.swim.state(2) == ALIVE and bench.swim.effects.count(Exchange(2)) == 1


def test_packets_of_others_are_dropped_and_counted() -> None:
    bench = Bench()
    bench.hear(2, Ping(1, ME), Claim(SAYS_SUSPECT, 3, 0, 2), cluster="other")
    bench.hear(ME, Ping(1, ME))
    assert bench.swim.counters["packets_foreign"] == 2
    bench.swim.handle_packet("x", b"\xff\xff", 0)
    bench.swim.handle_packet("x", b"a" * 5000, 0)
    assert bench.swim.counters["packets_bad"] == 2
    assert bench.take() == [] and bench.swim.state(3) == ALIVE


def test_leaving_is_told_at_once() -> None:
    bench = Bench(others=5)
    bench.swim.leave()
    sent = bench.take()
    assert len(sent) == 5 and all(Claim(SAYS_LEFT, ME, 0, ME) in packet.updates for _, packet in sent)
    other = Bench(others=5)
    other.hear(2, Rumours(), Claim(SAYS_LEFT, 2, 0, 2))
    assert other.swim.state(2) == UNREACHABLE


def test_each_member_is_told_who_we_are_until_it_has_answered() -> None:
    bench = Bench(others=1, details=DETAILS)
    announcement = Announcement(ME, 0, DETAILS)
    _, seq = bench.probe()
    bench.hear(2, Ping(1, ME))
    assert bench.take()[0][1].updates == [announcement]
    bench.hear(2, Ack(seq, 2, 0))
    bench.hear(2, Ping(2, ME))
    assert bench.take()[0][1].updates == []
    other = Bench()
    other.hear(2, Rumours(), Announcement(2, 0, DETAILS), Announcement(77, 3, DETAILS))
    assert other.swim.peers[2].details == DETAILS
    assert [e for e in other.swim.effects if isinstance(e, Announced)] == [Announced(Announcement(77, 3, DETAILS))]
    assert 77 not in other.swim.peers, "who is a member is decided elsewhere"


def test_the_largest_details_fit_a_packet_beside_the_largest_cluster_name() -> None:
    wide = "\U0001f412" * 64
    swim = Swim(ME, wide, LAN, Random(1), 0, Details(wide, "h" * 262, "h" * 262, wide))
    swim.add(2, 0, address(2))
    swim.view.suspect(swim.peers[2], 0, ME, 0)
    head = encode_head(wide, 2, 0, Ping(1, ME))
    swim.handle_packet(address(2), join_updates(head, []), 0)
    [packet] = [e.data for e in swim.effects if isinstance(e, SendPacket)]
    assert len(packet) <= PACKET_ROOM
    assert Announcement in {type(update) for update in decode_packet(packet).updates}


def test_a_packet_full_of_rumours_keeps_within_its_room() -> None:
    lengths = set()
    for seed in range(60):
        bench = Bench(others=150, seed=seed)
        for replica in range(2, 140):
            bench.swim.view.suspect(bench.swim.peers[replica], seed * replica**3, ME, 0)
        bench.hear(150, Ping(seed, ME))
        [packet] = [e.data for e in bench.swim.effects if isinstance(e, SendPacket)]
        lengths.add(len(packet))
    assert PACKET_ROOM - 8 < max(lengths) <= PACKET_ROOM


def test_what_is_known_of_strangers_and_of_ourselves() -> None:
    bench = Bench()
    swim = bench.swim
    assert swim.state(ME) == ALIVE and swim.state(77) == UNREACHABLE
    assert swim.unreachable_ms(77, 5) == swim.silent_ms(77, 5) == 0 and swim.phi(77, 5) == 0.0
    assert swim.evidence(77) == [] and not swim.is_heard_since(77, 0)
    swim.add(ME, 0, "x")
    swim.remove(77)
    assert ME not in swim.peers


def test_phi_rises_while_a_member_is_silent() -> None:
    bench = Bench()
    for _ in range(20):
        bench.now += 500
        bench.hear(2, Rumours())
    assert bench.swim.phi(2, bench.now + 100) < 1 < bench.swim.phi(2, bench.now + 2000)


packets = st.one_of(
    st.builds(Ping, st.integers(0, 9), st.integers(1, 7)),
    st.builds(Ack, st.integers(0, 9), st.integers(1, 7), st.integers(0, 5)),
    st.builds(Nack, st.integers(0, 9)),
    st.builds(PingRequest, st.integers(0, 9), st.integers(1, 7)),
    st.builds(Gone, st.integers(0, 9), st.integers(1, 7)),
)
rumours = st.lists(
    st.one_of(
        st.builds(Claim, st.integers(0, 3), st.integers(1, 7), st.integers(0, 5), st.integers(1, 7)),
        st.builds(Announcement, st.integers(1, 7), st.integers(0, 5), st.just(DETAILS)),
    ),
    max_size=4,
)


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 8), packets, rumours, st.integers(0, 5)), max_size=40),
    st.integers(0, 99),
)
def test_any_packets_at_any_time_leave_a_sound_machine(
    steps: list[tuple[int, int, AnyBody, list[AnyUpdate], int]], seed: int
) -> None:
    bench = Bench(seed=seed)
    bench.swim._seq = 0
    for ms, sender, body, updates, incarnation in steps:
        sent = bench.run(ms)
        bench.hear(sender, body, *updates, incarnation=incarnation)
        sent += bench.take()
        pauses = bench.swim.counters["pauses"]
        sent += bench.run(0)  # news can make a suspicion due that began long ago
        assert all(packet.sender == ME for _, packet in sent)
        assert bench.swim.due_ms > bench.now and bench.swim.counters["pauses"] == pauses
        bench.swim._check()
    assert SAYS_ALIVE == 0 and bench.swim.incarnation < 100


def test_a_hundred_thousand_mutated_packets_do_no_harm() -> None:
    rng = Random(3)
    swim = Swim(ME, "c", LAN, Random(1), 0, DETAILS)
    for replica in range(2, 8):
        swim.add(replica, 0, address(replica))
    seeds = [
        join_updates(
            encode_head("c", sender, rng.randrange(4), body),
            [encode_update(Claim(rng.randrange(4), rng.randint(1, 7), rng.randrange(4), rng.randint(1, 7)))],
        )
        for sender in range(2, 8)
        for body in (Ping(1, ME), Ack(1, sender, 2), Nack(1), PingRequest(1, 3), Gone(1, sender), Rumours())
    ]
    now = 0
    for step in range(100_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        swim.handle_packet(address(rng.randint(2, 9)), bytes(data), now)
        if step % 50 == 0:
            now += rng.randrange(200)
            swim.tick(now)
        swim.effects.clear()
    swim._check()
    assert swim.counters["packets_bad"] > 10_000 and swim.counters["packets_in"] == 100_000
    assert set(swim.peers) == set(range(2, 8))
    assert len(swim._relays) <= 1024 and len(swim.view.broadcasts) <= 7 * 5
