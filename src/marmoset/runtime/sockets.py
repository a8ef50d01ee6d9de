"""Listening sockets and the limit on open files (floor 9)."""

import errno
import resource
import socket
from typing import Final

from marmoset.errors import MarmosetError
from marmoset.units import address_text

BACKLOG: Final = 4096
FREE_PORT_TRIES: Final = 50
_REASONS: Final = {
    errno.EADDRINUSE: "the port is in use",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "this user may not listen on that port",
}


class ListenError(MarmosetError):
    """A port cannot be listened on; nothing was started."""


def listen(host: str, port: int, purpose: str) -> socket.socket:
    """A socket that listens on `host:port`, any free port for 0; raises `ListenError` saying what stands in the way.

    Keepalive is set here because accepted sockets inherit it: a client whose machine vanished is noticed in the end.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen for {purpose} on {host}: {error.strerror or error}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ListenError(f"cannot listen for {purpose} on {address_text(host, port)}: {reason}") from error
    return listener


def listen_twice(host: str, port: int, purpose: str) -> tuple[socket.socket, socket.socket]:
    """A socket that listens on `host:port`, and one for datagrams on the same port; for 0 a port that is free for both.

    Raises:
        ListenError: it says what stands in the way.
    """
    for _ in range(1 if port else FREE_PORT_TRIES):
        listener = listen(host, port, purpose)
        datagrams = socket.socket(listener.family, socket.SOCK_DGRAM)
        try:
            datagrams.setblocking(False)
            datagrams.bind(listener.getsockname())
        except OSError as error:
            listener.close()
            datagrams.close()
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            problem = ListenError(f"cannot listen for datagrams on {address_text(host, port)}: {reason}")
            continue
        return listener, datagrams
    raise problem


def port_of(listener: socket.socket) -> int:
    """The port that a listening socket has got."""
    return int(listener.getsockname()[1])


def raise_open_files(wanted: int) -> int:
    """Raise the soft limit on open files to the hard one; the limit that then holds, `wanted` if there is none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        target = max(soft, wanted) if hard == resource.RLIM_INFINITY else hard
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
        except (OSError, ValueError):  # a container may forbid it: the limit stays, and the caller says if it is low
            pass
    return wanted if soft == resource.RLIM_INFINITY else soft
