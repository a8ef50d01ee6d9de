"""Who is online: three replicas in one program, as three web servers would have one each.

Each server adds and removes its own visitors without asking anybody; soon all show the same.
"""

import time

import marmoset


def main() -> None:
    with (
        marmoset.open(name="web-1") as one,
        marmoset.open(name="web-2", join=[one.address]) as two,
        marmoset.open(name="web-3", join=[one.address]) as three,
    ):
        databases = (one, two, three)
        one.set("online").add("ada")
        two.set("online").add("bea")
        three.set("online").add("cy")
        for database in databases:
            database.counter("logins").increment(1)
        wait_for_same(databases, {"ada", "bea", "cy"})

        two.set("online").discard("bea")
        wait_for_same(databases, {"ada", "cy"})
        for database in databases:
            print(database.name, sorted(database.set("online")), "logins:", database.counter("logins").value)


def wait_for_same(databases: tuple["marmoset.Database[str]", ...], expected: set[str]) -> None:
    """Wait until all show what is expected; a real program would just go on."""
    until = time.monotonic() + 10
    while any(set(database.set("online")) != expected for database in databases):
        if time.monotonic() > until:
            raise SystemExit("they did not converge")
        time.sleep(0.005)


if __name__ == "__main__":
    main()
