"""A node in a thread of its own (floor 10).

The thread has an event loop to itself and is a daemon: a program that ends without closing its database is not held up,
though `atexit` tries to leave in good order first.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import final

import uvloop

from marmoset.config import Config
from marmoset.errors import MarmosetError, UsageError
from marmoset.logs import log
from marmoset.node import Exit
from marmoset.runtime import Runtime, listen, port_of


@final
class Background:
    """One node, its loop and its thread."""

    def __init__(self, config: Config, *, clients: bool) -> None:
        self.config = config
        self.runtime: Runtime
        self.end: Exit | None = None
        """How the node ended; None while it runs."""
        self._clients = clients
        self._problem: BaseException | None = None
        self._begun = threading.Event()
        self._opened = threading.Event()
        self._serving = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._run, name=f"marmoset {config.name}", daemon=True)

    def start(self, wait_s: float) -> None:
        """Start the thread and wait until the node serves.

        Raises:
            MarmosetError: a port is in use, the settings are refused, or the node was not let in; it is ended.
            UsageError: it does not serve within `wait_s`; the message says what it was waiting for.
        """
        try:
            self._thread.start()
            self._opened.wait()
            is_in_time = self._problem is not None or self._serving.wait(wait_s)
        except BaseException:  # Ctrl-C: nobody would have a handle on what joins the group later
            self.stop()
            raise
        if not is_in_time:
            what = f"{self.config.name} is {self.runtime.node.state} after {wait_s:g} s"
            reason = f": {self.runtime.last_problem}" if self.runtime.last_problem else ""
            self.stop()
            raise UsageError(what + reason)
        if self._problem is not None:
            self._thread.join()
            raise self._problem
        if self.end is not None:
            raise MarmosetError(f"{self.config.name} could not become a member: {self.end.why}")

    def stop(self) -> None:
        """Leave the group and end the thread; more than once does no harm."""
        if self._thread.is_alive():
            self._begun.wait()
            with contextlib.suppress(RuntimeError, AttributeError):  # the loop closes just now, or has never begun
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except Exception as error:
            if self._opened.is_set() and self._serving.is_set():
                log("error", "the background loop has failed", {"why": error}, error)
            self._problem = error
        finally:
            self._begun.set()
            self._opened.set()
            self._serving.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._begun.set()
        listener = listen(self.config.bind, self.config.port, "clients") if self._clients else None
        config = replace(self.config, port=port_of(listener)) if listener else self.config
        self.runtime = Runtime(config)
        close_clients = None
        try:
            self.runtime.open()
            if listener is not None:
                close_clients = await _serve_clients(self.runtime, listener)
            await self.runtime.start()
            self._opened.set()
            self.end = await self.runtime.live(self._stop, self._serving.set)
            if self.end.code != 0:
                log("warning", "stopped", {"name": self.config.name, "why": self.end.why})
        finally:
            if close_clients is not None:
                close_clients()
            if listener is not None:
                listener.close()
            await self.runtime.close()


async def _serve_clients(runtime: Runtime, listener: socket.socket) -> Callable[[], None]:
    """A Redis port beside the Python face, and how to close it; loaded only for those who ask for one."""
    from marmoset.server import redis_server  # noqa: PLC0415

    server = redis_server(runtime)
    await server.start(listener)
    return server.close
