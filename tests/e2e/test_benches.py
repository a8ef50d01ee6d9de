"""Every measurement runs to its end at a tiny size, prints its tables and writes its JSON. No figure is looked at."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.redis_benchmark import Measured, floors
from tests.e2e.cluster import environment

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120


def run(name: str, results: Path, *words: str, suffix: str = "") -> tuple[Any, str]:
    """What a measurement has written, under its name and a suffix, and all that it has said."""
    command = [sys.executable, "-m", f"bench.{name}", "--results", str(results), *words]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    written = json.loads((results / f"{name}{suffix}.json").read_text(encoding="utf-8"))
    about = written["about"]
    assert about["marmoset"] and about["build"] and about["python"] and about["machine"] and about["cores"]
    assert about["options"]["results"] == str(results)
    return written["measured"], ended.stdout + ended.stderr


@pytest.mark.redis_tools
def test_redis_benchmark_measures_every_test_beside_redis(tmp_path: Path) -> None:
    measured, said = run("redis_benchmark", tmp_path, "--requests", "50", "--rounds", "1", "--pipeline", "1", "16")
    names = {"SET", "GET", "INCR", "SADD", "SISMEMBER", "HSET", "LPUSH", "LPOP", "LRANGE_100", "ZADD", "MSET"}
    assert {(row["test"], row["pipeline"]) for row in measured} == {
        (name, depth) for name in names for depth in (1, 16)
    }
    assert {row["server"] for row in measured} >= {"redis"} and len(measured) == 2 * 2 * len(names)
    assert "SISMEMBER" in said and "ratio" in said


@pytest.mark.redis_tools
def test_redis_benchmark_measures_one_of_three(tmp_path: Path) -> None:
    words = ("--requests", "50", "--rounds", "1", "--pipeline", "16", "--tests", "sadd", "--nodes", "3")
    measured, said = run("redis_benchmark", tmp_path, *words, suffix="_3_nodes")
    assert {row["test"] for row in measured} == {"SADD"}
    assert "one of 3 nodes" in said and "target" not in said


def test_only_the_compiled_build_has_a_part_of_redis_s_rate_to_reach() -> None:
    measured = [
        Measured(test, pipeline, server, rate, 0.1)
        for test in ("SET", "LPOP")
        for pipeline in (1, 16, 200)
        for server, rate in (("compiled", 800.0), ("interpreted", 500.0), ("redis", 1000.0))
    ]
    assert [(each.what, each.value, each.is_met) for each in floors(measured)] == [
        ("SET -P 1", 0.8, False),
        ("SET -P 16", 0.8, True),
    ]
    assert floors([each for each in measured if each.server != "redis"]) == []


@pytest.mark.redis_tools
def test_replication_measures_what_a_write_costs_and_how_long_it_takes(tmp_path: Path) -> None:
    words = ("--requests", "200", "--rounds", "1", "--pipeline", "16", "--tests", "set,lpush")
    measured, said = run("replication", tmp_path, *words, "--rates", "1000", "--seconds", "0.2")
    assert {row["test"] for row in measured["cost"]} == {"SET", "LPUSH"}
    for row in measured["cost"]:
        assert row["single_us"] > 0 and row["sender_us"] > 0 and row["receiver_us"] > 0
    way = {row["what"]: row for row in measured["way"]}
    assert set(way) == {"marmoset", "relay", "answered"}
    assert all(row["samples"] == 200 and row["unseen"] == 0 and row["p50"] > 0 for row in way.values())
    assert "targets" in said


@pytest.mark.redis_tools
def test_latency_measures_both_commands_beside_redis(tmp_path: Path) -> None:
    words = ("--rates", "500", "--seconds", "0.3", "--rounds", "1", "--keys", "100", "--connections", "3")
    measured, _ = run("latency", tmp_path, *words)
    assert {row["command"] for row in measured} == {"GET", "SET"} and len(measured) == 4
    assert all(row["samples"] == 150 and row["unanswered"] == 0 and 0 < row["p50"] <= row["max"] for row in measured)


def test_embedded_measures_the_python_face_beside_redis_py(tmp_path: Path) -> None:
    measured, said = run("embedded", tmp_path, "--count", "400", "--rounds", "1", "--threads", "2")
    rates = {(row["subject"], row["operation"], row["threads"]): row["rate"] for row in measured}
    for subject in ("marmoset", "redis-py", "plain"):
        for operation in ("in", "map read", "add", "map assign", "increment", "append", "list read"):
            assert rates[subject, operation, 1] > 0 and rates[subject, operation, 2] > 0
    for name in ("pycrdt", "loro"):
        assert ((name, "map read", 1) in rates) != (f"{name.upper()} IS LEFT OUT" in said)


@pytest.mark.redis_tools
def test_memory_measures_every_shape(tmp_path: Path) -> None:
    measured, said = run("memory", tmp_path, "--elements", "300")
    shapes = {row["shape"]: row for row in measured}
    assert set(shapes) == {"string keys", "set", "hash", "list, appended", "list, in front", "list, edited"}
    for row in shapes.values():
        assert row["elements"] == 300 and row["plain"] > 32 and row["received"] > 16 and row["redis"] is not None
    assert "targets" in said


def test_merge_measures_two_replicas(tmp_path: Path) -> None:
    measured, _ = run("concurrent_edits", tmp_path, "--length", "2000", "--edits", "100")
    assert set(measured["seconds"]) == {"edits", "merge", "fold"} and measured["equal"]


def test_traces_are_replayed_through_every_column_there_is(tmp_path: Path) -> None:
    letters = [[0, 0, "a"], [1, 0, "bc"], [0, 1, ""]]
    alone = {"endContent": "bc", "txns": [{"parents": [], "agent": 0, "patches": letters}]}
    both = [
        {"parents": [], "agent": 0, "patches": [[0, 0, "a"]]},
        {"parents": [0], "agent": 1, "patches": [[1, 0, "b"]]},
    ]
    traces = {"automerge-paper": alone, "sveltecomponent": alone, "friendsforever": {"endContent": "ab", "txns": both}}
    for name, content in traces.items():
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    measured, _ = run("editing_traces", tmp_path, "--data", str(tmp_path), "--repeat", "2")
    assert {row["trace"] for row in measured if row["through"] == "structure"} == set(traces)
    assert {row["trace"] for row in measured if row["through"] == "marmoset"} == set(traces) - {"friendsforever"}
    assert all(row["right"] for row in measured)


def test_growth_measures_elements_windows_and_members(tmp_path: Path) -> None:
    words = ("--elements", "200", "1000", "--window", "50", "--members", "2", "3", "--operations", "40")
    measured, said = run("growth", tmp_path, *words, "--count", "20", "--rounds", "1")
    assert len(measured["elements"]) == 17 and len(measured["window"]) == 12
    assert all(set(row) == {"200", "1000"} and min(row.values()) > 0 for row in measured["elements"].values())
    assert all(set(row) == {"50"} and row["50"] > 0 for row in measured["window"].values())
    assert measured["members"]["messages"]["3"] > 0
    assert "sorted set: ZRANK" in said and "INCR: fold" in said


def test_catchup_measures_snapshot_and_log(tmp_path: Path) -> None:
    measured, _ = run("catchup", tmp_path, "--keys", "600", "--behind", "300", "--rounds", "1")
    assert [(row["what"], row["count"]) for row in measured] == [("snapshot", 600), ("log", 300)]
    assert all(row["a_second"] > 0 for row in measured)
    assert measured[1]["mb"] > 0, "the log keeps what a member that is stopped lacks"


def test_stalls_measures_every_phase_of_both_nodes_and_the_control(tmp_path: Path) -> None:
    sizes = ("--keys", "2000", "--elements", "300", "--deleted", "300", "--expiring", "300", "--behind", "300")
    measured, said = run("stalls", tmp_path, *sizes, "--seconds", "0.3", "--rate", "300")
    assert measured["agree"] and all(writer["writes"] > 0 == writer["errors"] for writer in measured["writes"])
    phases = set(measured["phases"])
    assert {"load", "quiet", "writes", "snapshot", "exchange", "catching up", "expiry", "del list", "flushall"} < phases
    for process, most in (("first", phases), ("second", phases - {"load", "quiet", "writes"}), ("control", phases)):
        for phase in most - {"catching up", "deadlines"}:  # which are over before a call was due
            for figures in measured["stalls"][process][phase].values():
                assert sum(figures["histogram"]) == figures["samples"] > 0 and figures["p50"] <= figures["max"]
    assert "targets" in said and "< 10 ms" in said


def test_start_measures_imports_and_nodes(tmp_path: Path) -> None:
    measured, _ = run("start", tmp_path, "--count", "1")
    assert set(measured) == {"interpreter", "import", "import of the face", "open", "serve"}
    assert all(row["p50"] > 0 for row in measured.values())


@pytest.mark.parametrize(
    "name",
    [
        "builds",
        "catchup",
        "concurrent_edits",
        "editing_traces",
        "embedded",
        "growth",
        "guard",
        "latency",
        "memory",
        "redis_benchmark",
        "replication",
        "snapshot_stalls",
        "stalls",
        "start",
    ],
)
def test_says_how_it_is_used(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0 and "--results" in ended.stdout, ended.stderr


def test_what_is_started_does_not_outlive_who_is_told_to_end() -> None:
    program = (
        "import time; from bench.processes import exit_on_sigterm, node\n"
        "exit_on_sigterm()\n"
        "with node() as one: print(one.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        started = int(process.stdout.readline())
        process.terminate()
        assert process.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)
