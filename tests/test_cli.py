"""The command line: every option is a flag, help, exit codes, and what `status` shows."""

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from marmoset import build, cli, config, serve, status
from marmoset.config import FLAG, OPTIONS, Config
from marmoset.version import VERSION

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that `serve` was called with; nothing is started."""
    seen: list[Config] = []

    def record(settings: Config) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(serve, "serve", record)
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    return seen


def test_help_has_every_option_with_its_default() -> None:
    shown = runner.invoke(cli.app, ["serve", "--help"]).output
    for option in OPTIONS:
        assert f"{option.flag} " in shown
        if option.kind != FLAG and option.text(option.default):
            assert f"Default: {option.text(option.default)}." in shown


def test_flags_reach_the_configuration(served: list[Config]) -> None:
    words = ["serve", "--name", "a", "--join", "h:1", "--join", "i", "--presumed-dead-after=15m", "--new-group"]
    assert runner.invoke(cli.app, words).exit_code == 0
    assert served == [
        config.load({"name": "a", "join": ["h:1", "i:7946"], "presumed_dead_after": "15m", "new_group": True})
    ]


def test_a_flag_goes_before_a_variable(served: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARMOSET_NAME", "variable")
    monkeypatch.setenv("MARMOSET_PORT", "1234")
    monkeypatch.setenv("MARMOSET_NEW_GROUP", "true")
    assert runner.invoke(cli.app, ["serve", "--name", "flag", "--no-new-group"]).exit_code == 0
    assert (served[0].name, served[0].port, served[0].new_group) == ("flag", 1234, False)


def test_every_option_can_be_given_as_it_is_written(served: list[Config]) -> None:
    words = ["serve"]
    for option in OPTIONS:
        text = option.text(option.default)
        if option.kind == FLAG:
            words.append(f"--no-{option.flag[2:]}")
        elif text:
            words += [option.flag, text]
    assert runner.invoke(cli.app, words).exit_code == 0
    assert served == [Config()]


def run(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARMOSET_")} | changes
    return subprocess.run(
        [sys.executable, "-m", "marmoset", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"marmoset {VERSION} ({build.kind()})\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("serve", "--gossip-interval", "5"), 2, "--gossip-interval: 5 is not accepted; it takes a number and a unit"),
        (("serve", "--gossip-intervol", "5s"), 2, "--gossip-interval"),
        (("serve", "--config", "/nowhere.toml"), 2, "cannot read the configuration file /nowhere.toml"),
        (("demo", "--nodes", "2"), 2, "--nodes"),
        (("status", "a:b:c"), 2, "a:b:c is not accepted"),
        (("status", "127.0.0.1:1"), 2, "no node answers at 127.0.0.1:1: Connection refused"),
        (("dance",), 2, "dance"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], code: int, said: str) -> None:
    done = run(*words, COLUMNS="200")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def _members(address: str) -> bytes:
    """One member that is unreachable, with an address if there is one."""
    words = ["name", "bea", "state", "unreachable", *(["address", address, "id", "60b5" * 4] if address else [])]
    return f"*1\r\n*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words)


class Canned(socketserver.StreamRequestHandler):
    """Answers `MARMOSET STATUS` and `MARMOSET MEMBERS` with fixed text, anything else with an error."""

    def handle(self) -> None:
        while True:
            header = self.rfile.readline()
            if not header:
                return
            words = [self.rfile.readline() and self.rfile.readline().strip() for _ in range(int(header[1:]))]
            if words[1] == b"STATUS" and not getattr(self.server, "is_silent", False):
                self.wfile.write(b"*4\r\n$4\r\nname\r\n$3\r\nada\r\n$4\r\nkeys\r\n:5\r\n")
            elif words[1] == b"MEMBERS":
                self.wfile.write(_members(getattr(self.server, "address", "")))
            else:
                self.wfile.write(b"-ERR unknown command\r\n")


@pytest.fixture
def canned() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Canned) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_status_shows_a_node_and_its_members(canned: socketserver.ThreadingTCPServer) -> None:
    address = f"127.0.0.1:{canned.server_address[1]}"
    shown = runner.invoke(cli.app, ["status", address])
    assert shown.exit_code == 0, shown.output
    for text in ("ada", "keys", "5", "bea", "unreachable"):
        assert text in shown.output
    as_json = json.loads(runner.invoke(cli.app, ["status", address, "--json"]).output)
    assert as_json == {"status": {"name": "ada", "keys": 5}, "members": [{"name": "bea", "state": "unreachable"}]}


def test_status_leaves_nothing_of_an_id_or_address_out(
    canned: socketserver.ThreadingTCPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    canned.address = "a-machine-with-a-long-name.example.org:7946"  # type: ignore[attr-defined]
    port = f"127.0.0.1:{canned.server_address[1]}"
    piped = run("status", port, COLUMNS="40").stdout
    (row,) = (line for line in piped.splitlines() if "bea" in line)
    assert "a-machine-with-a-long-name.example.org:7946" in row and "60b5" * 4 in row
    for name, value in {"COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    status.show(port, as_json=False)
    narrow = capsys.readouterr().out
    assert "…" not in narrow
    address_column = "".join(line.split("│")[3].strip() for line in narrow.splitlines() if line.count("│") == 5)
    assert address_column == "a-machine-with-a-long-name.example.org:7946"


def test_status_of_something_that_is_no_node(canned: socketserver.ThreadingTCPServer) -> None:
    canned.is_silent = True  # type: ignore[attr-defined]
    done = run("status", f"127.0.0.1:{canned.server_address[1]}")
    assert (done.returncode, done.stderr) == (1, "marmoset: ERR unknown command\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the Redis protocol"),
        (bytes([0, 0, 0, 70, 131]) + bytes(70), "does not speak the Redis protocol"),
        (b"", "has closed the connection without an answer"),
    ],
    ids=["http", "gossip-port", "encrypted-gossip-port"],
)
def test_status_of_a_port_that_is_none_for_clients_says_which_one_is_wanted(answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = run("status", f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert done.returncode == 2
    assert said in done.stderr and "gossip_port" in done.stderr
    assert done.stderr.count("\n") == 1
