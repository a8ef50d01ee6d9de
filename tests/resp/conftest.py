"""A real Redis, the same as for the commands."""

from tests.commands.conftest import redis_port

__all__ = ["redis_port"]
