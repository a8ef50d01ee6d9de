"""The address of a node (floor 7)."""

from marmoset.config import Config
from marmoset.errors import UsageError


def own_address(config: Config) -> str:
    """The address at which others reach this node.

    Raises:
        UsageError: the node listens everywhere, which is no address.
    """
    if not config.advertise and config.bind in ("0.0.0.0", "::", ""):
        raise UsageError(
            f"--bind {config.bind} listens everywhere: give --advertise HOST, where other nodes reach this one"
        )
    return config.address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def check_may_begin(config: Config) -> None:
    """Nobody else is to be joined, and nobody said that a group is to begin: whether it may begin all the same.

    Raises:
        UsageError: it was to be joined, or others can reach this node.
    """
    if config.join:
        raise UsageError(
            f"the join list names nobody but this node itself, {config.address}: give --join HOST:PORT of a member, or "
            "--new-group to begin a new group here"
        )
    if not is_loopback(config.bind):
        raise UsageError(
            f"no join addresses were given, and {config.bind} is not a loopback address: "
            "give --join HOST:PORT of a member, or --new-group to begin a new group here"
        )
