"""The command line (floor 10): `marmoset serve`, `status`, `keygen`, `demo`, `sim`.

The flags of `serve` are made from the table of options in `marmoset.config`; nothing about an option is written here.
Exit codes: 0 done, 1 failed, 2 wrong usage. Messages go to standard error. What a command needs is imported when it
runs, so that `--help` is quick.
"""

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Final, NoReturn

import typer

import marmoset
from marmoset import build, config
from marmoset.config import ADDRESSES, FLAG, OPTIONS, Option
from marmoset.errors import MarmosetError, UsageError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

app = typer.Typer(
    name="marmoset",
    help="A distributed in-memory key-value database whose values merge. Spoken over the Redis protocol.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        build.check(os.environ)
        app(prog_name="marmoset")
    except UsageError as error:
        _stop(EXIT_USAGE, error)
    except MarmosetError as error:
        _stop(EXIT_FAILED, error)


def _stop(code: int, error: Exception) -> NoReturn:
    print(f"marmoset: {error}", file=sys.stderr)
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"marmoset {marmoset.__version__} ({build.kind()})")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What comes before the name of a command."""


# One paragraph a line: the help is wrapped to the width of the terminal.
_SERVE_HELP: Final = "\n\n".join(
    (
        "Run one node.",
        "Every option may also be given as an environment variable (MARMOSET_GOSSIP_INTERVAL for --gossip-interval) "
        "or as a key of a TOML file (gossip_interval). A flag goes before the environment, the environment before "
        "the file. Durations are written 500ms, 15s, 10m; sizes 512kb, 64mb, 1gb.",
        'Prints one line with the word "ready" when the node takes clients. Stop it with Ctrl-C or SIGTERM: it '
        "leaves the group first; a second signal ends it at once.",
    )
)


def _serve(**given: object) -> None:
    """`marmoset serve`; its help is `_SERVE_HELP`."""
    file = given.pop("config")
    chosen = {name: value for name, value in given.items() if value is not None and value != []}
    settings = config.load(chosen, os.environ, file if isinstance(file, str) else None, given_as_flags=True)
    from marmoset import serve  # noqa: PLC0415  # brings the event loop

    raise typer.Exit(serve.serve(settings))


def _parameters() -> list[inspect.Parameter]:
    """The parameters of `serve`: the file, then one for each option of the table."""
    file = Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="TOML file to read options from.", envvar=config.FILE_VARIABLE),
    ]
    made = [_parameter("config", file)]
    return made + [_parameter(option.name, _annotation(option)) for option in OPTIONS]


def _parameter(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _annotation(option: Option) -> object:
    """How one option is written on the command line. Values stay text: the table parses them, with its own messages."""
    shown = option.text(option.default)
    default = f" Default: {shown}." if shown and option.kind != FLAG else ""
    flag = f"{option.flag}/--no-{option.flag[2:]}" if option.kind == FLAG else option.flag
    described = typer.Option(
        flag,
        help=option.doc[0].upper() + option.doc[1:] + "." + default,
        metavar=None if option.kind == FLAG else _metavar(option),
        show_default=False,
        rich_help_panel=option.section,
    )
    if option.kind == FLAG:
        return Annotated[bool | None, described]
    return Annotated[list[str] | None if option.kind == ADDRESSES else str | None, described]


def _metavar(option: Option) -> str:
    return (
        "|".join(option.choices) if option.choices else "HOST:PORT" if option.kind == ADDRESSES else option.kind.upper()
    )


def _register_serve(command: Callable[..., None]) -> None:
    """Give `serve` its parameters; typer reads signature and annotations, both are made from the table."""
    parameters = _parameters()
    command.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command("serve", help=_SERVE_HELP)(command)


_register_serve(_serve)


@app.command("keygen")
def _keygen(
    size: Annotated[int, typer.Option("--bytes", help="16, 24 or 32: AES-128, AES-192 or AES-256.")] = 32,
) -> None:
    """Print a new key, one line of a keyring file."""
    import secrets  # noqa: PLC0415

    from marmoset.codec.keyring import key_line  # noqa: PLC0415  # brings cryptography

    print(key_line(secrets.token_bytes(size)))


@app.command("status")
def _status(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Client address of the node.")] = "127.0.0.1:6379",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one look at a running node: its state and the members it knows."""
    from marmoset import status  # noqa: PLC0415  # brings hiredis and rich

    status.show(address, as_json=as_json)


@app.command("demo")
def _demo(
    nodes: Annotated[int, typer.Option("--nodes", min=3, max=9, help="How many nodes to start.")] = 3,
    keep_logs: Annotated[
        str | None, typer.Option("--keep-logs", metavar="DIR", help="Write the nodes' logs here.")
    ] = None,
) -> None:
    """Start a cluster of real processes on this machine and show it converge; exit code 0 only if every step held."""
    from marmoset import demo  # noqa: PLC0415  # brings hiredis and rich

    raise typer.Exit(demo.run(nodes, keep_logs))


@app.command("sim")
def _sim(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which history.")] = 0,
    nodes: Annotated[int, typer.Option("--nodes", help="How many nodes, 2 to 50.")] = 5,
    steps: Annotated[int, typer.Option("--steps", help="How many operations.")] = 2000,
    profile: Annotated[
        str, typer.Option("--profile", help="calm, lossy, partitions, churn, slow, clocks or everything.")
    ] = "everything",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="FILE", help="Write everything that happened.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="A..B", help="Play a range of seeds instead.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0, help="Play seeds from --seed on for so long.")
    ] = None,
) -> None:
    """Simulate a cluster under faults; one seed gives one trace. Exit code 1 for a breach, 3 for no progress."""
    from marmoset.sim import command  # noqa: PLC0415  # brings the whole node

    if seconds is not None:
        raise typer.Exit(command.run_many(command.seeds_for(seed, seconds), profile, nodes, steps, as_json))
    if seeds is not None:
        raise typer.Exit(command.run_many(command.seeds_of(seeds), profile, nodes, steps, as_json))
    raise typer.Exit(command.run(seed, profile, nodes, steps, as_json, trace))
