"""redis-benchmark, the load that every Redis user knows, runs to its end."""

import shutil
import subprocess

import pytest

from tests.e2e.cluster import NodeProcess

TESTS = "set,get,incr,sadd,hset,lpush,lrange_100,mset"
NAMES = ("SET", "GET", "INCR", "SADD", "HSET", "LPUSH", "LRANGE_100", "MSET")


@pytest.mark.redis_tools
@pytest.mark.parametrize("pipelined", [1, 16])
def test_redis_benchmark_runs_to_its_end(solo: NodeProcess, pipelined: int) -> None:
    path = shutil.which("redis-benchmark")
    assert path
    words = [path, "-p", str(solo.port), "-t", TESTS, "-n", "5000", "-c", "50", "-P", str(pipelined), "--csv"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "rror" not in ended.stdout + ended.stderr
    for name in NAMES:
        assert f'"{name}' in ended.stdout
