"""The shell around a node (floor 9): sockets, timers, the real clock. Below here nothing does I/O."""

from marmoset.runtime.core import Runtime
from marmoset.runtime.sockets import BACKLOG, ListenError, listen, port_of, raise_open_files

__all__ = ["BACKLOG", "ListenError", "Runtime", "listen", "port_of", "raise_open_files"]
