"""The log budget: warnings from half of it, refused writes past it, reads that go on, and all well again behind it."""

from dataclasses import replace
from random import Random

from marmoset.codec.operations import Assign
from tests.commands.group import Group


def test_writes_are_refused_while_a_member_lacks_too_much() -> None:
    group = Group(3)
    here, there, away = group.members
    here.node.config = replace(here.node.config, log_budget=20_000)
    group.cut.add(away)
    for number, link in sorted(group.ends):
        other, _ = group.ends[number, link]
        if away in (other, group.members[number]):
            group.members[number].node.handle_closed(link)
    group.ends = {
        end: (other, link) for end, (other, link) in group.ends.items() if away not in (other, group.members[end[0]])
    }
    rng = Random(1)
    refused = b""
    for number in range(200):
        answer = here("SET", f"k{number}", rng.randbytes(400))
        if answer[0] == b"-":
            assert isinstance(answer[1], bytes)
            refused = answer[1]
            break
        group.settle()
        group.run(50)
    assert refused.startswith(b"OOM "), refused
    assert away.node.config.name.encode() in refused, "who is waited for"
    assert here("GET", "k0")[1] is not None, "reads go on"
    group.run(500)
    events = [n.fields["reached"] for n in here.notices if n.event == "log budget"]
    assert events == ["past half of log_budget", "past log_budget: writes are refused"]
    there.node.replica.submit(Assign(b"from there", b"v"))
    there.node.end_turn()
    group.settle()
    assert here("GET", "from there")[1] == b"v", "what comes from others is applied"
    group.cut.clear()
    group.run(5000)
    assert here("SET", "again", "v") == (b"+", b"OK")
