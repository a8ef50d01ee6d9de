"""Simulated time: events happen in the order of their moments, and then of their making."""

from marmoset.sim.world import World


def test_events_happen_in_the_order_of_moments_and_then_of_making() -> None:
    world, seen = World(), list[str]()
    world.after(20, lambda: seen.append("late"))
    world.after(10, lambda: seen.append("first"))
    world.after(10, lambda: seen.append("second"))
    world.run_until(15)
    assert seen == ["first", "second"] and world.now_us == 15
    world.run_until(20)
    assert seen == ["first", "second", "late"]


def test_what_an_event_makes_happens_too_and_nothing_happens_in_the_past() -> None:
    world, seen = World(), list[int]()
    world.after(10, lambda: world.at(0, lambda: seen.append(world.now_us)))
    world.run_until(100)
    assert seen == [10] and world.events == 2
