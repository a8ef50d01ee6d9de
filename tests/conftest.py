"""What all tests share: Hypothesis profiles, the build that is tested, and the rule for tests that need the Redis
command-line tools.

A test that puts something in the place of a part of the package is marked `interpreted`: compiled code does not look at
what is put there. Such tests are left out where the compiled build is tested; `make test` runs them.

Such a test is marked `redis_tools`. Where the tools are missing it is left out, and the last lines of the run say so;
with CI set in the environment the run fails instead, so that nothing is left out there without anybody noticing.
"""

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import marmoset
from marmoset import build

REDIS_TOOLS = ("redis-cli", "redis-server", "redis-benchmark")
HOW_TO_GET_THEM = "on Debian and Ubuntu: apt-get install redis-server redis-tools"

settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

left_out: list[str] = []


def missing_tools() -> list[str]:
    """The tools that this machine lacks."""
    return [tool for tool in REDIS_TOOLS if shutil.which(tool) is None]


def pytest_configure() -> None:
    build.check(os.environ)


def pytest_report_header() -> str:
    return f"marmoset: {build.kind()}, from {Path(marmoset.__file__).parent}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if build.kind() == build.COMPILED:
        replacing = pytest.mark.skip(reason="replaces a part of the package, which compiled code does not look at")
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(replacing)
    missing = missing_tools()
    needing = [item for item in items if item.get_closest_marker("redis_tools")] if missing else []
    if not needing:
        return
    if os.environ.get("CI"):
        raise pytest.UsageError(f"{', '.join(missing)}: not found, and needed in CI; {HOW_TO_GET_THEM}")
    left_out.extend(item.nodeid for item in needing)
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if left_out:
        terminalreporter.section("NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(left_out)} tests need {', '.join(missing_tools())}; {HOW_TO_GET_THEM}")
        for name in left_out:
            terminalreporter.line(f"  {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures see how their test went, so that a cluster can show its logs."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


FAILED = pytest.StashKey[bool]()
