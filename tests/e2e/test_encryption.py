"""Encryption between real processes: who is let in, what is seen on the wire, and a rotation while clients write."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.cluster import Cluster, NodeProcess, as_dict, run, wait_equal, wait_until
from tests.e2e.wire import Forwarder, RawConnection, start_behind


@pytest.fixture
def forwarders() -> Iterator[list[Forwarder]]:
    made: list[Forwarder] = []
    yield made
    for forwarder in made:
        forwarder.close()


def new_key() -> str:
    done = run("keygen")
    assert done.returncode == 0
    return done.stdout.strip()


def write_ring(path: Path, *keys: str) -> Path:
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}  # a key\n" for key in keys))
    return path


def rows(node: NodeProcess) -> list[dict[str, object]]:
    return [as_dict(row) for row in node.call("MARMOSET", "KEYRING")]


def total(node: NodeProcess, *counters: str) -> int:
    status = node.status()
    return sum(int(status[counter]) for counter in counters)


def is_in_log(node: NodeProcess, text: str) -> bool:
    return text in node.log_text()


def test_nodes_with_the_key_are_one_group_and_others_are_told_why_they_are_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    key = new_key()
    sealed = f"--keyring={write_ring(tmp_path / 'ring', key)}"
    ada, bea = cluster.start("ada", sealed), cluster.start("bea", sealed)
    ada.call("SET", "secret", "carrots")
    cluster.wait_same(lambda node: node.call("GET", "secret"), "carrots")
    assert bea.status()["encrypted"] == 1
    assert [(row["seals"], row["links"]) for row in rows(ada)] == [(1, 1)]

    plain = cluster.spawn("cy", "--port=0", join=cluster.addresses())
    wait_until(lambda: is_in_log(plain, "this group is encrypted and the other side has no keyring"), "cy is told")
    wait_until(lambda: is_in_log(ada, "the other side is not encrypted and this node has a keyring"), "ada says so")
    other = cluster.spawn("dan", f"--keyring={write_ring(tmp_path / 'other', new_key())}", join=cluster.addresses())
    wait_until(lambda: is_in_log(other, "no key in common"), "dan is told")
    wait_until(lambda: is_in_log(ada, "no key in common"), "ada says so")
    wait_until(lambda: total(ada, "handshakes_failed") >= 2, "they are counted")
    for outsider in (plain, other):
        log = outsider.log_text()
        assert not any(word in log for word in ("bea", ada.id, "carrots")), "an outsider has learned something"
        assert outsider.process.poll() is None and not outsider.out.read_text(), "it still tries, and is not ready"
    assert [name for name, _ in ada.members()] == ["ada", "bea"]
    cluster.start("eve", sealed)
    cluster.wait_members()


def test_a_plain_group_is_not_joined_by_a_node_with_a_keyring(cluster: Cluster, tmp_path: Path) -> None:
    ada = cluster.start("ada")
    assert ada.status()["encrypted"] == 0
    with pytest.raises(redis.ResponseError, match="no keyring"):
        ada.call("MARMOSET", "KEYRING")
    bea = cluster.spawn("bea", f"--keyring={write_ring(tmp_path / 'ring', new_key())}", join=cluster.addresses())
    wait_until(lambda: is_in_log(bea, "the other side is not encrypted and this node has a keyring"), "bea is told")
    wait_until(lambda: is_in_log(ada, "the other side is encrypted and this node has no keyring"), "ada says so")
    assert [name for name, _ in ada.members()] == ["ada"]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_what_a_listener_sees(is_sealed: bool, cluster: Cluster, forwarders: list[Forwarder], tmp_path: Path) -> None:
    words = [f"--keyring={write_ring(tmp_path / 'ring', new_key())}"] if is_sealed else []
    words.append("--cluster=vegetables")
    ada = start_behind(cluster, forwarders, "ada", *words)
    bea = cluster.start("bea", *words)
    bea.call("SET", "a-key-to-look-for", "a-value-to-look-for")
    cluster.wait_same(lambda node: node.call("GET", "a-key-to-look-for"), "a-value-to-look-for")
    ada.call("SADD", "another-key", "another-value")
    cluster.wait_same(lambda node: node.call("SCARD", "another-key"), 1)
    seen = b"".join([*forwarders[0].dialled, *forwarders[0].answered])
    assert len(seen) > 1000
    plain = [b"a-key-to-look-for", b"a-value-to-look-for", b"another-value", b"vegetables", b"ada", b"bea"]
    assert [word for word in plain if word in seen] == ([] if is_sealed else plain)
    if not is_sealed:
        return
    # The dialler's side of a whole connection, played again by somebody who has no key.
    before = total(ada, "handshakes_failed")
    links = ada.status()["links"]
    with RawConnection(forwarders[0].target_port) as replayed:
        replayed.send(bytes(forwarders[0].dialled[0]))
        answer = replayed.rest()
    assert len(answer) == 4 + 1 + 32 + 4 + 32, "one choice, and nothing behind it"
    wait_equal(lambda: total(ada, "handshakes_failed"), before + 1, "the replay is counted")
    assert ada.status()["links"] == links
    cluster.wait_members()


def test_keys_are_rotated_while_clients_write(cluster: Cluster, tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    rings = {name: write_ring(tmp_path / name, old) for name in ("ada", "bea", "cy")}
    nodes = [cluster.start(name, f"--keyring={ring}") for name, ring in rings.items()]
    cluster.wait_members()
    (old_id,) = [row["id"] for row in rows(nodes[0])]
    stop = threading.Event()
    written = dict.fromkeys(rings, 0)
    unlinked_s = dict.fromkeys(rings, 0.0)

    def write(node: NodeProcess) -> None:
        client = node.client()
        while not stop.is_set():
            client.incr("n")
            written[node.name] += 1

    def watch(node: NodeProcess) -> None:
        client = node.client(protocol=3)
        since: float | None = None
        while not stop.is_set():
            whole = as_dict(client.execute_command("MARMOSET", "STATUS"))["links"] == 2
            since = None if whole else since or time.monotonic()
            if since is not None:
                unlinked_s[node.name] = max(unlinked_s[node.name], time.monotonic() - since)
            time.sleep(0.005)

    threads = [threading.Thread(target=work, args=(node,)) for node in nodes for work in (write, watch)]
    for thread in threads:
        thread.start()
    try:
        for ring in ([old, new], [new, old], [new]):
            for node in nodes:
                write_ring(rings[node.name], *ring)
                node.call("MARMOSET", "KEYRING", "RELOAD")
            cluster.wait_same(lambda node: int(node.status()["links"]), 2)
            enough = {name: count + 100 for name, count in written.items()}
            wait_until(lambda: all(written[name] > count for name, count in enough.items()), "clients go on")  # noqa: B023
        (new_id,) = [row["id"] for row in rows(nodes[0])]
        assert new_id != old_id
        cluster.wait_same(lambda node: [f"{row['id']} {row['links']}" for row in rows(node)], [f"{new_id} 2"])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert max(unlinked_s.values()) < 2.0, unlinked_s
    cluster.wait_same(lambda node: node.call("GET", "n"), str(sum(written.values())))
    cluster.wait_members()
    assert not any("unreachable" in node.log_text() for node in nodes)


def test_a_bad_file_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    key = new_key()
    path = write_ring(tmp_path / "ring", key)
    ada, bea = cluster.start("ada", f"--keyring={path}"), cluster.start("bea", f"--keyring={path}")
    before = rows(ada)
    path.write_text("no key at all\n")
    with pytest.raises(redis.ResponseError, match=r"line 1 is no key.*stay"):
        ada.call("MARMOSET", "KEYRING", "RELOAD")
    path.unlink()
    with pytest.raises(redis.ResponseError, match="No such file"):
        ada.call("MARMOSET", "KEYRING", "RELOAD")
    with pytest.raises(redis.ResponseError, match="syntax"):
        ada.call("MARMOSET", "KEYRING", "FORGET")
    assert rows(ada) == before
    assert "others may read" not in ada.log_text()
    write_ring(path, key).chmod(0o644)
    bea.call("MARMOSET", "KEYRING", "RELOAD")
    assert "others may read the keyring" in bea.log_text() and "mode=644" in bea.log_text()
    ada.call("SET", "k", "v")
    cluster.wait_same(lambda node: node.call("GET", "k"), "v")


@pytest.mark.parametrize(
    ("text", "expected"), [(None, "No such file"), ("", "no key in it"), ("x", "line 1 is no key")]
)
def test_a_node_does_not_start_without_the_keys_that_it_was_told_to_use(
    text: str | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "ring"
    if text is not None:
        path.write_text(text)
    done = run("serve", "--port=0", "--gossip-port=0", f"--keyring={path}")
    assert done.returncode == 2 and expected in done.stderr and str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_keygen() -> None:
    assert len({new_key() for _ in range(2)}) == 2
    assert len(run("keygen", "--bytes", "16").stdout.strip()) == 24
    done = run("keygen", "--bytes", "17")
    assert done.returncode == 2 and "17 bytes" in done.stderr
