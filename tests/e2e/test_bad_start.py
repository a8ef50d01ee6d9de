"""A node that cannot start as it was told says why and ends; one that cannot join says so and keeps trying."""

import json
import signal
import socket
from pathlib import Path

import pytest
import redis

from tests.e2e.cluster import Cluster, NodeProcess, free_port, run, wait_until
from tests.e2e.wire import RawConnection

FAILED, USAGE = 1, 2


@pytest.mark.parametrize("flag", ["--port", "--gossip-port"])
def test_a_port_in_use(flag: str) -> None:
    other = "--gossip-port" if flag == "--port" else "--port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", flag, str(port), other, "0")
    assert ended.returncode == FAILED
    assert str(port) in ended.stderr
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "many"), "--port"),
        (("--port", "70000"), "65535"),
        (("--gossip-interval", "5"), "500ms"),
        (("--gossip-interval", "1ms"), "--gossip-interval"),
        (("--log-budget", "1kb"), "--log-budget"),
        (("--join", "nowhere:port"), "--join"),
        (("--join", ""), "--new-group"),
        (("--port", "0", "--gossip-port", "7977", "--join", "127.0.0.1:7977"), "nobody but this node itself"),
        (("--presumed-dead-quorum", "few"), "majority or one"),
        (("--bind", "0.0.0.0"), "advertise"),
        (("--name", "two words"), "name"),
        (("--nmae", "a"), "nmae"),
        (("--config", "/nowhere/marmoset.toml"), "/nowhere/marmoset.toml"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], said: str) -> None:
    ended = run("serve", *words, COLUMNS="200")
    assert ended.returncode == USAGE
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"gosip_interval = '1s'\n", "did you mean gossip_interval"),
        (b"port = \n", "not TOML"),
        (b"name = '\xff'\n", "not UTF-8"),
        (b"port = 'many'\n", "port"),
        (b"unreachable_after = '9s'\npresumed_dead_after = '3s'\n", "unreachable_after"),
    ],
    ids=["unknown-key", "no-toml", "no-text", "no-number", "do-not-fit"],
)
def test_a_wrong_configuration_file(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "marmoset.toml"
    file.write_bytes(content)
    ended = run("serve", "--config", str(file))
    assert ended.returncode == USAGE
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_configuration_file_that_cannot_be_read(tmp_path: Path) -> None:
    ended = run("serve", "--config", str(tmp_path))
    assert ended.returncode == USAGE
    assert str(tmp_path) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_command() -> None:
    ended = run("dance")
    assert ended.returncode == USAGE
    assert "dance" in ended.stderr


def test_status_of_a_gossip_port_says_which_port_is_wanted(cluster: Cluster) -> None:
    ended = run("status", cluster.start("one").address)
    assert ended.returncode == USAGE
    assert "gossip_port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_group_is_begun_in_the_open_only_when_asked_for(cluster: Cluster) -> None:
    node = cluster.spawn("open", "--bind=0.0.0.0", "--advertise=127.0.0.1")
    assert node.wait() == USAGE
    assert "--new-group" in node.log_text()


@pytest.fixture
def lonely(cluster: Cluster) -> NodeProcess:
    """A node whose only join address does not answer."""
    port = free_port()
    node = cluster.spawn("lonely", f"--port={port}", join=[f"127.0.0.1:{free_port()}"])
    node.port = port
    wait_until(lambda: "does not answer" in node.log_text(), "it says that nobody answers")
    return node


@pytest.mark.parametrize(
    "words", [("PING",), ("GET", "k"), ("SET", "k", "v"), ("ECHO", "x"), ("DBSIZE",), ("KEYS", "*"), ("MULTI",)]
)
def test_until_it_has_joined_a_node_answers_loading(lonely: NodeProcess, words: tuple[str, ...]) -> None:
    with RawConnection(lonely.port) as raw:
        raw.send(" ".join(words).encode() + b"\r\n")
        assert raw.line().startswith(b"-LOADING ")
    assert "ready" not in lonely.out.read_text()


def test_until_it_has_joined_a_node_still_answers_about_itself(lonely: NodeProcess) -> None:
    client = lonely.client()
    assert client.info()["redis_version"]
    assert client.command_count() > 90
    assert client.client_id() > 0
    assert lonely.status()["name"] == "lonely"
    with RawConnection(lonely.port) as raw:
        raw.send(b"HELLO 3\r\n")
        assert raw.line().startswith(b"%")


def test_a_node_keeps_trying_until_its_join_address_answers(cluster: Cluster) -> None:
    gossip_port, port = free_port(), free_port()
    early = cluster.spawn("early", f"--port={port}", join=[f"127.0.0.1:{gossip_port}"])
    early.port = port
    wait_until(lambda: "does not answer" in early.log_text(), "it says that nobody answers")
    with pytest.raises(redis.BusyLoadingError):
        early.client().ping()
    first = cluster.start("first", f"--gossip-port={gossip_port}", join=[])
    first.call("SET", "k", "v")
    early.wait_ready()
    assert early.log_text().count("does not answer") == 1, "it does not say so at each try"
    cluster.nodes.append(early)
    cluster.wait_members()
    assert early.call("GET", "k") == "v"


def test_a_node_that_waits_to_join_ends_when_told(lonely: NodeProcess) -> None:
    lonely.terminate()
    assert lonely.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_ends_in_good_order_when_told(cluster: Cluster, number: signal.Signals) -> None:
    node = cluster.start("one")
    node.process.send_signal(number)
    assert node.wait() == 0
    assert "Traceback" not in node.log_text()


def test_logs_can_be_json(cluster: Cluster) -> None:
    node = cluster.start("one", "--log-format=json")
    node.terminate()
    node.wait()
    lines = [json.loads(line) for line in node.log_text().splitlines()]
    assert lines
    assert all({"time", "level", "event"} <= line.keys() for line in lines)


def test_two_groups_never_mix(cluster: Cluster) -> None:
    first = cluster.start("one", "--cluster=alpha", join=[])
    other = cluster.spawn("two", "--cluster=beta", join=[first.address])
    wait_until(lambda: "alpha" in other.log_text(), "it says which group is which")
    assert "ready" not in other.out.read_text()
    assert first.members() == [("one", "alive")]
