"""A real Redis for the tests that compare with one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.beside_redis import Pair, RedisServer


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder)
    server.start()
    yield server.port
    server.stop()


@pytest.fixture(params=[2, 3])
def pair(redis_port: int, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A session of ours and a connection to Redis, in RESP2 and in RESP3."""
    both = Pair(redis_port, request.param)
    yield both
    both.close()
