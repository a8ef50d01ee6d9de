"""One node as a process: `marmoset serve` (floor 10).

Order of a start: limits of the system, ports, node, clients, and when the node takes clients one line with the word
`ready` on standard output. SIGTERM and SIGINT leave the group first; a second one ends at once. Exit codes: 0 left in
good order, 1 something failed (a port in use, a leave that nobody confirmed), 2 wrong usage.

Garbage collection: the database is millions of containers that are never garbage cycles, and a full collection would
visit each of them while nothing else runs, for hundreds of milliseconds. What exists after the start is frozen, and
only the youngest generation is collected from then on, and while that is small: a bounded visit, which finds the cycles
that die young. A rare cycle that outlives it costs its own few bytes.
"""

import asyncio
import gc
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import uvloop

from marmoset import logs
from marmoset.config import Config
from marmoset.errors import UsageError
from marmoset.logs import log
from marmoset.runtime import ListenError, Runtime, listen, port_of, raise_open_files
from marmoset.server import redis_server
from marmoset.units import address_text

if TYPE_CHECKING:
    from marmoset.runtime.huge_pages import HugePages

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
YOUNG_OBJECTS: Final = 500
"""What lives is visited once in its life, and of a list or dict every entry: those of a large value that is written,
restored or freed have hundreds each. So many at a time take some milliseconds; ten thousand took 20 to 50, and no less
in all."""
NEVER: Final = 1_000_000_000
YOUNGEST: Final = 0
COLLECT_S: Final = 0.05
"""How often the young objects are visited, however few Python counts: it takes one off for each old object that is
freed, so that thousands are young when as many others were freed meanwhile."""
COLLAPSE_S: Final = 1.0
"""How often it is looked whether memory has grown enough to be put into huge pages."""
FILES_BESIDE: Final = 64
"""Open files that are neither clients nor links: listeners, logs, the loop's own, links about to be replaced."""


def serve(config: Config) -> int:
    """Run a node until it is told to stop; the exit code."""
    logs.configure(config.log_format, config.log_level)
    gc.collect()  # what the imports have left
    gc.disable()  # a full collection would have tables that are still empty forgotten (`crdts.plain_slots.new_table`)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run(config))
    except ListenError as error:
        return _fail(EXIT_FAILED, error)
    except UsageError as error:
        return _fail(EXIT_USAGE, error)
    except KeyboardInterrupt:
        return EXIT_FAILED
    finally:
        gc.enable()


def _fail(code: int, error: Exception) -> int:
    print(f"marmoset: {error}", file=sys.stderr)
    return code


async def run(config: Config) -> int:
    """The same on the running event loop, logs being configured."""
    _check_open_files(config)
    listener = listen(config.bind, config.port, "clients")
    runtime = Runtime(replace(config, port=port_of(listener)))
    server = redis_server(runtime)
    beside: list[asyncio.Task[None]] = []
    pages = _huge_pages() if config.huge_pages == "auto" else None
    try:
        runtime.open()
        stop = _stop_on_signals()
        await server.start(listener)
        await runtime.start()
        _collect_young_garbage_only()
        beside.append(asyncio.create_task(_collect_often(COLLECT_S)))
        if pages is not None:
            beside.append(asyncio.create_task(_collapse_often(pages, COLLAPSE_S)))
        end = await runtime.live(stop, lambda: print(ready_line(runtime), flush=True))
        log("info" if end.code == 0 else "error", "stopped", {"why": end.why})
    finally:
        for task in beside:
            task.cancel()
        if pages is not None:
            pages.stop()
        server.close()
        listener.close()
        await runtime.close()
    return end.code


def ready_line(runtime: Runtime) -> str:
    """The one line on standard output; `marmoset demo` and tests read the fields from it."""
    config = runtime.config
    fields = {
        "name": config.name,
        "id": runtime.node.status()["id"],
        "clients": address_text(config.bind, config.port),
        "nodes": config.address,
    }
    return "marmoset ready " + " ".join(f"{name}={value}" for name, value in fields.items())


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; after the first, each has its default effect again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle() -> None:
        log("info", "stopping", {"how": "leaving the group; a second signal ends at once"})
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    return stop


def _check_open_files(config: Config) -> None:
    wanted = config.maxclients + 2 * config.replicas_max + FILES_BESIDE
    limit = raise_open_files(wanted)
    if limit < wanted:
        usable = max(0, limit - wanted + config.maxclients)
        log("warning", "few open files", {"limit": limit, "wanted": wanted, "clients_possible": usable})


def _collect_young_garbage_only() -> None:
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
    gc.enable()


async def _collect_often(interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        gc.collect(YOUNGEST)


def _huge_pages() -> "HugePages | None":
    try:
        from marmoset.runtime.huge_pages import HugePages  # noqa: PLC0415  # a Python may be without ctypes
    except ImportError as problem:
        log("warning", "no huge pages", {"why": str(problem)})
        return None
    return HugePages()


async def _collapse_often(pages: "HugePages", interval_s: float) -> None:
    try:
        while pages.is_possible:
            await asyncio.sleep(interval_s)
            if pages.has_grown():
                await asyncio.to_thread(pages.collapse)
        if pages.is_slow:
            log("info", "no more huge pages", {"why": "each takes long to make here, and the loop may wait for it"})
    except (OSError, RuntimeError) as problem:  # it does without, as on another system
        log("warning", "no huge pages", {"why": str(problem)})
