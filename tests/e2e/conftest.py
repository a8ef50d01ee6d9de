"""Clusters as fixtures: `cluster` is a test's own, `trio` and `solo` are shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FAILED
from tests.e2e.cluster import Cluster, NodeProcess


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("end_to_end")


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """An empty cluster."""
    with Cluster(tmp_path) as made:
        yield made
        if request.node.stash.get(FAILED, False):
            print(made.logs())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes with default intervals, for tests that use keys of their own."""
    failed_before = request.session.testsfailed
    with Cluster(tmp_path_factory.mktemp("trio"), options=()) as made:
        made.grow("ada", "bea", "cy")
        yield made
        if request.session.testsfailed > failed_before:
            print(made.logs())


@pytest.fixture
def trio(shared: Cluster) -> Iterator[Cluster]:
    """The shared three nodes, emptied."""
    shared.nodes[0].call("FLUSHALL")
    shared.wait_same(lambda node: node.call("DBSIZE"), 0)
    yield shared


@pytest.fixture(scope="module")
def solo_node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[NodeProcess]:
    """One node, for a module."""
    failed_before = request.session.testsfailed
    with Cluster(tmp_path_factory.mktemp("solo")) as made:
        yield made.start("solo")
        if request.session.testsfailed > failed_before:
            print(made.logs())


@pytest.fixture
def solo(solo_node: NodeProcess) -> Iterator[NodeProcess]:
    """The module's one node, emptied; after each test it must still answer."""
    solo_node.call("FLUSHALL")
    yield solo_node
    assert solo_node.call("PING")
    assert solo_node.process.poll() is None
