"""The simulator as people call it: runs hold, one seed gives one trace, exit codes say what happened."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import marmoset
from marmoset.errors import UsageError
from marmoset.sim import checks, command, simulation
from marmoset.sim.hunting import applied
from marmoset.sim.mutants import MUTANTS
from marmoset.sim.profiles import FAULTS, PROFILES, draw
from marmoset.sim.simulation import BREACH, HOLDS, STUCK, Simulation, simulate


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_few_runs_of_every_profile_hold(profile: str) -> None:
    for seed in range(3):
        outcome = simulate(seed, profile, 4, 250)
        assert outcome.code == HOLDS, f"{outcome.problem}; {command.replay(outcome)}"
        assert outcome.counts["operations"] >= 250 and outcome.counts["keys_checked"] and outcome.counts["folds"]


@pytest.mark.parametrize("profile", ["calm", "everything", "churn"])
def test_encrypted_runs_hold_and_one_seed_gives_one_trace(profile: str) -> None:
    for seed in range(2):
        knobs = replace(draw(seed, profile, 4, 200), sealed=True)
        outcome = Simulation(seed, knobs).run()
        assert outcome.code == HOLDS, outcome.problem
        assert Simulation(seed, knobs).run().trace == outcome.trace
        assert Simulation(seed, replace(knobs, sealed=False)).run().trace != outcome.trace


def test_some_runs_are_encrypted() -> None:
    assert 5 < sum(draw(seed, "everything", 5, 100).sealed for seed in range(200)) < 50


def test_members_that_bury_each_other_come_to_rest() -> None:
    contradictory = 0
    for seed in range(2):
        drawn = draw(seed, "churn", 5, 1000)
        knobs = replace(drawn, weights={"contradict": 1}, turn_gap_us=25_000, log_budget=1 << 28)
        outcome = Simulation(seed, knobs).run()
        assert outcome.code == HOLDS, outcome.problem
        contradictory += outcome.counts.get("burials_contradictory", 0)
    assert contradictory


@pytest.mark.parametrize(("grows_until_ms", "is_whole"), [(0, False), (3000, False), (11_000, True), (99_000, False)])
def test_a_snapshot_that_is_still_growing_is_no_standstill(
    grows_until_ms: int, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`everything` 440054: elements one by one over a link of 30 kB a second. The last one grows without end."""
    simulation = Simulation(0, replace(draw(0, "calm", 2, 50), liveness_ms=5000))
    world = simulation.cluster.world
    received = [0, *range(1, grows_until_ms // 250 + 1)]
    monkeypatch.setattr(
        simulation, "_snapshot_bytes", lambda: received[min(world.now_us // 250_000, len(received) - 1)]
    )
    monkeypatch.setattr(checks, "unrest", lambda cluster: "" if 15_000_000 < world.now_us < 20_000_000 else "joining")
    for name in ("check_values", "check_rest"):
        monkeypatch.setattr(checks, name, lambda cluster: None)
    if grows_until_ms == 99_000:
        monkeypatch.setattr(checks, "unrest", lambda cluster: "joining")
    assert simulation._liveness() == ("" if is_whole else "joining")
    assert world.now_us <= 4 * 5_000_000


def test_where_logs_stay_full_nothing_goes_wrong_for_a_while_until_all_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulation, "IDLE_MS_MAX", 1000)
    monkeypatch.setattr(simulation, "RESPITE_MS", 500)
    knobs = draw(145, "partitions", 5, 200)
    assert not knobs.maxmemory, "what is full depends on sizes, which differ from build to build"
    outcome = Simulation(145, replace(knobs, log_budget=1500)).run()
    assert (outcome.code, outcome.problem) == (HOLDS, "") and outcome.counts["operations"] >= 200
    assert outcome.counts["respites"]
    assert "respites" not in Simulation(145, replace(knobs, log_budget=1 << 28)).run().counts  # the logs it was


def test_two_nodes_hold_and_so_do_twelve() -> None:
    for nodes in (2, 12):
        outcome = simulate(1, "everything", nodes, 200)
        assert outcome.code == HOLDS, outcome.problem


def test_one_seed_gives_one_trace_whatever_the_hashes_are_salted_with(tmp_path: Path) -> None:
    assert not draw(8, "everything", 5, 400).maxmemory, (
        "what is full depends on sizes, which are measured here and there"
    )
    traces: list[bytes] = []
    for salt in ("0", "1", "4242"):
        file = tmp_path / salt
        env = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(Path(marmoset.__file__).parents[1])}
        arguments = ["--seed", "8", "--steps", "400", "--profile", "everything", "--trace", str(file)]
        done = subprocess.run(
            [sys.executable, "-m", "marmoset", "sim", *arguments], env=env, check=False, capture_output=True
        )
        assert done.returncode == HOLDS, done.stderr.decode()
        traces.append(file.read_bytes())
    assert len(traces[0]) > 10_000 and traces[0] == traces[1] == traces[2]


def test_another_seed_gives_another_trace() -> None:
    assert simulate(1, "calm", 3, 60).trace != simulate(2, "calm", 3, 60).trace


@pytest.mark.interpreted
def test_a_breach_exits_with_1_and_says_how_to_play_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    broken = next(mutant for mutant in MUTANTS if mutant.name == "causality not checked")
    with applied(broken):
        seed = next(s for s in range(20) if command.run(s, "everything", 4, 300, False, None) == BREACH)
    error = capsys.readouterr().err
    assert "breach" in error
    assert f"replay: marmoset sim --seed {seed} --nodes 4 --steps 300 --profile everything" in error


@pytest.mark.interpreted
def test_no_progress_exits_with_3_and_says_last_how_to_play_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    stuck = next(mutant for mutant in MUTANTS if mutant.name == "never forgotten")
    with applied(stuck):
        assert command.run_many(range(4, 8), "churn", 4, 200, True) == STUCK
    written = capsys.readouterr()
    failed = [outcome["seed"] for outcome in json.loads(written.out)["failed"]]
    last = [line for line in written.err.splitlines() if line.startswith("replay: ")][-len(failed) :]
    assert [line.split()[4] for line in last] == [str(seed) for seed in failed]
    assert written.err.splitlines()[-1] == last[-1]


def test_what_cannot_be_simulated_is_refused() -> None:
    for arguments in (("calmer", 5, 10), ("calm", 1, 10), ("calm", 51, 10), ("calm", 5, 0)):
        with pytest.raises(UsageError):
            command.check(*arguments)
    for text in ("5", "7..3", "a..b"):
        with pytest.raises(UsageError):
            command.seeds_of(text)
    assert list(command.seeds_of("3..5")) == [3, 4, 5]


def test_json_has_seed_knobs_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(3, "calm", 3, 60, True, None) == HOLDS
    told = json.loads(capsys.readouterr().out)
    assert told["seed"] == 3 and told["knobs"]["nodes"] == 3 and told["counts"]["operations"] >= 60
    counts, shares = told["counts"], told["per_operation"]
    assert counts["datagrams"] and not counts["datagrams_lost"]
    assert set(shares) == {"messages", "bytes", "datagrams"}
    assert all(
        abs(share * counts["operations"] - counts[name]) <= counts["operations"] for name, share in shares.items()
    )


def test_what_an_operation_costs_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(3, "calm", 3, 60, False, None) == HOLDS
    assert command.run_many(range(3, 4), "calm", 3, 60, False) == HOLDS
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("for each operation: ")]
    assert len(lines) == 2 and lines[0] == lines[1] and "messages" in lines[0] and "datagrams" in lines[0]


def test_a_profile_that_provokes_nothing_of_what_it_is_for_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SEEDS_MIN", 1)
    assert command.run_many([1], "churn", 3, 5, False) == BREACH
    assert "provoked" in capsys.readouterr().err


def test_profiles_name_faults_that_exist() -> None:
    for profile in PROFILES.values():
        assert set(profile.weights) <= set(FAULTS)


def test_checks_that_are_told_a_lie_speak_up() -> None:
    """A value that is changed behind the node's back is found."""
    simulation = Simulation(1, draw(1, "calm", 3, 2000))

    def lie() -> None:
        node = simulation.cluster.hosts[0].node
        assert node is not None
        for slots in node.replica.keyspace.shards:
            values = slots.values
            for key in values:
                if key.startswith(b"s") and isinstance(values[key], bytes):
                    values[key] = b"a lie"
        simulation.cluster.world.after(20_000, lie)

    simulation.cluster.world.after(200_000, lie)
    assert simulation.run().code == BREACH
