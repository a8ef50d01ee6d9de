"""What one node logs can be received by the others, however large it is."""

from marmoset.sim.workload import request
from tests.node.group import Group


def test_what_a_transaction_moves_crosses_twice() -> None:
    limit = 4 << 20
    group = Group(2, batch_bytes_max=limit)
    host = group.hosts[0]
    session = host.connect(1)
    members = [b"%d" % i + b"x" * 65_000 for i in range(limit // 66_000)]
    for member in members:
        host.command(session, request(b"SADD", b"from", member), 0)
    group.until(group.is_at_rest)
    moves = [request(b"SMOVE", b"from", b"to", member) for member in members]
    host.command(session, b"".join([request(b"MULTI"), *moves, request(b"EXEC")]), 0)
    group.until(group.is_at_rest)
    assert group.values(b"to") == [set(members)] * 2
