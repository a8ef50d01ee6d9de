"""What the README shows is what happens: its session of redis-cli, its nodes, its Python."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, as_dict

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def scripts() -> list[list[dict[str, str]]]:
    """The blocks that start nodes, and the flags of each command in them."""
    found = []
    for block in (block for block in blocks("sh") if "marmoset serve" in block):
        commands = [shlex.split(line) for line in block.splitlines()]
        assert all(words[:2] == [".venv/bin/marmoset", "serve"] for words in commands)
        found.append([dict(zip(words[2::2], words[3::2], strict=True)) for words in commands])
    return found


@pytest.fixture
def walkthrough(cluster: Cluster) -> tuple[Cluster, dict[str, int]]:
    """The README's nodes, at ports of ours; and which of ours stands for which of its own."""
    first, _ = scripts()
    ports: dict[str, int] = {}
    for flags in first:
        join = [cluster.nodes[0].address] if "--join" in flags else []
        ports[flags["--port"]] = cluster.start(flags["--name"], join=join).port
    cluster.wait_members()
    return cluster, ports


@pytest.mark.redis_tools
def test_the_session_of_redis_cli(walkthrough: tuple[Cluster, dict[str, int]]) -> None:
    cluster, ports = walkthrough
    (session,) = blocks("console")
    steps = re.findall(r"^\$ redis-cli -p (\d+) (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE)
    assert len(steps) == session.count("$ ")
    for port, command, printed in steps:
        cli = shutil.which("redis-cli")
        assert cli
        words = [cli, "-p", str(ports[port]), *shlex.split(command)]
        cluster.wait_same(lambda node: node.redis.dbsize(), max(node.redis.dbsize() for node in cluster.nodes))
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=30, check=True, env=os.environ | {"FAKETTY": "1"}
        )
        # A set comes in any order.
        assert sorted(re.findall(r'".*"|\(.*', ended.stdout)) == sorted(re.findall(r'".*"|\(.*', printed))


def test_the_first_node_is_started_again_through_another(walkthrough: tuple[Cluster, dict[str, int]]) -> None:
    cluster, _ = walkthrough
    first, (again,) = scripts()
    gossip_ports = [flags["--gossip-port"] for flags in first]
    begins = next(i for i, flags in enumerate(first) if "--join" not in flags)
    assert again["--name"] == first[begins]["--name"]
    through = cluster.nodes[gossip_ports.index(again["--join"].rpartition(":")[2])].address
    victim = cluster.nodes[begins]
    group = victim.status()["group"]
    victim.call("SADD", "fruit", "apple")
    cluster.wait_same(lambda node: node.redis.smembers("fruit"), {"apple"})
    victim.kill()
    cluster.nodes.remove(victim)
    back = cluster.start(again["--name"], join=[through])
    cluster.wait_members()
    assert back.status()["group"] == group
    assert back.redis.smembers("fruit") == {"apple"}


def test_the_looks_at_a_node(walkthrough: tuple[Cluster, dict[str, int]]) -> None:
    cluster, _ = walkthrough
    node = cluster.nodes[0]
    for subcommand in re.findall(r"MARMOSET ([A-Z]+) +#", README):
        assert node.call("MARMOSET", subcommand)
    assert as_dict(node.call("MARMOSET", "STATUS"))["log_batches"] == 0
    ended = subprocess.run(
        [sys.executable, "-m", "marmoset", "status", f"127.0.0.1:{node.port}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for shown in ("ada", "bea", "cy", "alive", "log_batches"):
        assert shown in ended.stdout


def test_the_python(cluster: Cluster) -> None:
    node = cluster.start("ada")
    (program,) = blocks("python")
    program = program.replace("127.0.0.1:7101", node.address)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert node.redis.smembers("online") == {"ada"}
    assert node.redis.hgetall("profile:ada") == {"city": "Turin", "tags": '["admin"]'}
    assert [node.redis.get("hits"), node.redis.get("motd")] == ["3", "hello"]
    assert node.redis.lrange("todo", 0, -1) == ["write"]
    cluster.wait_members()
