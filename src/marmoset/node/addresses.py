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
