"""A list that two people edit at the same time, one in Python and one through any Redis client."""

import time
from collections.abc import Callable

import redis

import marmoset


def main() -> None:
    with (
        marmoset.open(name="phone") as phone,
        marmoset.open(name="kitchen", join=[phone.address], port=0) as kitchen,
        redis.Redis(port=kitchen.port or 0, decode_responses=True) as client,
    ):
        ours = phone.sequence("shopping")
        ours.extend(["bread", "milk", "apples"])
        wait_until(lambda: client.llen("shopping") == 3)

        # Both at once, and nobody waits: an insertion on one side, a removal and an insertion on the other.
        ours.insert(1, "butter")
        client.lrem("shopping", 1, "milk")
        client.rpush("shopping", "coffee")

        wait_until(lambda: list(ours) == client.lrange("shopping", 0, -1) and len(ours) == 4)
        print("phone:  ", ", ".join(ours))
        print("kitchen:", ", ".join(map(str, client.lrange("shopping", 0, -1))))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for the other node; a real program would just go on."""
    until = time.monotonic() + 10
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("they did not converge")
        time.sleep(0.005)


if __name__ == "__main__":
    main()
