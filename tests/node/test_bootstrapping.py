"""Bootstrapping by vote: one group, by nodes that are started alike in any order, and never two."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.messages import Waits
from marmoset.config import Config, check_together
from marmoset.errors import UsageError
from marmoset.sim.host import Host
from tests.node.group import Alone, Group

BEGAN = "began a new group"


class Alike(Group):
    """Nodes that are all given the same list."""

    def __init__(self, size: int, expect: int, seed: int = 1) -> None:
        super().__init__(0, seed)
        self.expect = expect
        self.list = tuple(f"127.0.0.1:{7001 + n}" for n in range(size))

    def wake(self, number: int) -> Host:
        """Start the node of a number."""
        while len(self.hosts) < number:
            made = len(self.hosts) + 1
            self.hosts.append(self.host(f"n{made}", made))
        host = self.hosts[number - 1]
        host.start(self.list, self.expect)
        return host

    @property
    def begun(self) -> list[str]:
        return [who for who, notice in self.notices if notice.event == BEGAN]

    def all_serve(self, size: int) -> Callable[[], bool]:
        return lambda: len(self.nodes()) == size and self.is_whole()


@pytest.mark.parametrize(("size", "expect"), [(2, 2), (3, 2), (3, 3), (5, 3), (5, 5)])
def test_nodes_that_are_started_alike_become_one_group(size: int, expect: int) -> None:
    group = Alike(size, expect)
    for number in range(1, size + 1):
        group.wake(number)
    took = group.until(group.all_serve(size), 20_000)
    assert len(group.begun) == 1 and took < 15_000
    (elected,) = [notice.fields["votes"] for _, notice in group.notices if notice.event == "elected by those that wait"]
    assert len(elected) >= expect  # type: ignore[arg-type]


def test_fewer_than_are_expected_wait_for_ever_and_serve_nobody() -> None:
    group = Alike(5, 3)
    group.wake(1)
    group.wake(4)
    group.run(120_000)
    assert not group.begun and {node.state for node in group.nodes()} == {"waiting"}
    assert str(group[1].refusal(write=False)).startswith("LOADING")
    group.wake(3)
    group.until(group.all_serve(3), 20_000)
    assert group.begun == ["n1"], "the first of the list that waits"


def test_a_cut_lets_one_side_begin_at_most() -> None:
    group = Alike(5, 3)
    for number in range(1, 6):
        group.wake(number)
    group.cut(1, 2)
    group.run(60_000)
    assert group.begun == ["n3"]
    assert [node.state for node in group.nodes()] == ["waiting"] * 2 + ["serving"] * 3
    group.network.heal()
    group.until(group.all_serve(5), 30_000)
    assert group.begun == ["n3"]


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_however_they_are_cut_and_started_no_two_groups_begin(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 5))
    group = Alike(size, data.draw(st.integers(size // 2 + 1, size)), data.draw(st.integers(0, 99)))
    names = [f"n{n}" for n in range(1, size + 1)]
    pairs = [(a, b) for a in names for b in names if a != b]
    order = data.draw(st.permutations(range(1, size + 1)))
    for number in order:
        group.wake(number)
        if data.draw(st.booleans()):
            group.network.heal()
            group.network.cut(data.draw(st.lists(st.sampled_from(pairs), max_size=12)))
        group.run(data.draw(st.integers(0, 2000)))
    for _ in range(4):
        group.network.heal()
        group.network.cut(data.draw(st.lists(st.sampled_from(pairs), max_size=12)))
        group.run(2500)
    assert len(group.begun) <= 1
    group.network.heal()
    group.run(20_000)
    assert len(group.begun) <= 1
    if group.begun:
        group.until(group.all_serve(size), 30_000)


def test_a_vote_is_given_once_in_a_life() -> None:
    alone = Alone("n2", join=("127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002"), bootstrap_expect=2)

    def asks(address: str) -> list[str]:
        link = alone.link()
        alone.hear(link, alone.newcomer(50, address=address))
        alone.hear(link, Waits(address, sorted(alone.config.join), address, "", True))
        return [m.voted for m in alone.said[link] if isinstance(m, Waits)]

    assert asks("127.0.0.1:7002") == ["", ""], "we would rather begin ourselves"
    assert asks("127.0.0.1:7000") == ["", "127.0.0.1:7000"]
    alone.run(60_000)
    assert asks("127.0.0.1:7002")[-1] == "127.0.0.1:7000", "though nobody else waits now"
    assert asks("127.0.0.1:7000")[-1] == "127.0.0.1:7000", "it may not have heard it"
    assert alone.node.state == "waiting" and not alone.events(BEGAN)


def test_whoever_was_a_member_votes_for_no_other_group() -> None:
    group = Alike(3, 2)
    for number in (1, 2, 3):
        group.wake(number)
    group.until(group.all_serve(3), 20_000)
    group.hosts[0].crash()
    node = group[2]
    assert not node.bootstrapping.is_on
    node.state = "waiting"
    assert not node.bootstrapping.is_on and not node.bootstrapping.greet(next(iter(node.links.values())), group.list[2])


def test_another_list_is_said_and_has_no_say() -> None:
    alone = Alone("n2", join=("127.0.0.1:7000", "127.0.0.1:7001"), bootstrap_expect=2)
    link = alone.link()
    alone.hear(link, alone.newcomer(50, address="127.0.0.1:7000"))
    alone.hear(link, Waits("127.0.0.1:7000", ["127.0.0.1:7000"], "127.0.0.1:7000", "127.0.0.1:7001", True))
    assert alone.events("another join list") and link in alone.closed and not alone.node.bootstrapping.voted


def test_settings_that_could_begin_two_groups_are_refused() -> None:
    listed = ("a:1", "b:1", "c:1", "d:1")
    for expect in (1, 2, 5):
        with pytest.raises(UsageError, match="bootstrap_expect"):
            check_together(Config(join=listed, bootstrap_expect=expect))
    for expect in (0, 3, 4):
        check_together(Config(join=listed, bootstrap_expect=expect))
    with pytest.raises(UsageError, match="is not in this one"):
        Alone("n9", join=("127.0.0.1:7000", "127.0.0.1:7009"), bootstrap_expect=2)
