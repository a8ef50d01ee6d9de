"""Real editing histories, one edit at a time, through marmoset and through other packages; `make bench-traces`.

    make bench-traces DATA=FOLDER
    make bench-traces DATA=FOLDER ARGS="--repeat 5 --only marmoset --profile"

FOLDER has the `.json.gz` files of the public collection `josephg/editing-traces`. Traces of one writer are replayed
on one replica, each edit an assignment to a slice:

- *marmoset*: the Python face, `db.sequence(...)[start:stop] = text`, of a node that is a group of one;
- *structure*: what is below the key-value database alone: ids asked for, an operation applied, no key and no node;
- *structure, 2 members*: the same with a second member, which applies every operation and forgets it, as the first
  does, once some thousands are behind;
- *list*: a plain Python list; *pycrdt* (a transaction an edit) and *loro* (a commit an edit) where they are installed.

The trace of two writers is replayed on two replicas (of marmoset, its structure), each of which has, before each edit,
applied exactly what the edit's `parents` say.

Each cell of the table is measured in a process of its own, the best of `--repeat` passes: seconds of the clock, and
those of the processor, all threads, which a busy machine makes less uncertain and which the targets are about. Memory
is how much the resident size grew in the first pass, so it holds for the data structure and its garbage alike. Exit
code 1 if a text of marmoset's is not the right one. Reading the trace and opening the node are left out.

Targets, for `automerge-paper`: *marmoset* faster than the list, in at most `LORO_MAX` times loro's time, and smaller.
"""

import argparse
import cProfile
import gc
import gzip
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import marmoset
from bench import results
from bench.processes import resident_bytes
from bench.results import Target
from marmoset import build
from marmoset.clocks import Context, LocalContext
from marmoset.crdts import sequence as sequences
from marmoset.crdts.sequence import Sequence, SequenceWindow

ONE_WRITER = ("automerge-paper", "sveltecomponent")
TWO_WRITERS = ("friendsforever",)
FOLD_EVERY = 4000
FACE, STRUCTURE, FOLLOWED = "marmoset", "structure", "structure, 2 members"
OURS = (FACE, STRUCTURE, FOLLOWED)
TARGETS_FOR = "automerge-paper"
LORO_MAX = 2.0

Patch = tuple[int, int, str]


class Editor(Protocol):
    """One replica of a text."""

    def edit(self, patch: Patch) -> Any:
        """Apply a local edit; what others need in order to have it, too."""

    def merge(self, change: Any) -> None:
        """Apply what `edit` returned elsewhere."""

    def text(self) -> str:
        """The whole text."""
        ...


class FaceEditor:
    """A node in this process, through the Python face."""

    def __init__(self) -> None:
        self.database = marmoset.open(name="editor", log_level="error")
        self.letters = self.database.sequence("text")

    def edit(self, patch: Patch) -> None:
        """Apply a local edit."""
        position, deleted, inserted = patch
        self.letters[position : position + deleted] = inserted

    def merge(self, change: Any) -> None:
        """Apply an edit of the other replica."""
        raise NotImplementedError

    def text(self) -> str:
        """The whole text, and the end of the node."""
        text = "".join(self.letters)
        self.database.close()
        return text


class MarmosetEditor:
    """The structure alone. `windowed` when there is a second member, so that operations are stable only later."""

    def __init__(self, me: int, *, windowed: bool) -> None:
        self.me = me
        self.seqs = {1: 0, 2: 0}
        self.sequence = Sequence()
        self.window = SequenceWindow() if windowed else None
        self.local = LocalContext()
        self.unfolded: list[tuple[Any, ...]] = []

    def edit(self, patch: Patch) -> list[tuple[Any, ...]]:
        """Apply a local edit."""
        position, deleted, inserted = patch
        sequence, window, me, seqs = self.sequence, self.window, self.me, self.seqs
        change: list[tuple[Any, ...]] = []
        if deleted:
            ranges = sequence.ranges(position, position + deleted)
            dot = (me, seqs[me] + 1)
            sequences.remove(sequence, window, dot, ranges)
            if window is not None:
                change.append((dot, dict(seqs), ranges))
            seqs[me] += 1
        if inserted:
            left, right = sequence.neighbours(position)
            dot = (me, seqs[me] + 1)
            values: list[bytes | int] = [letter.encode() for letter in inserted]
            sequences.insert(sequence, window, dot, self.local, left, right, values)
            if window is not None:
                change.append((dot, dict(seqs), left, right, values))
            seqs[me] += len(values)
        if window is not None:
            self.unfolded += change
        return change

    def merge(self, change: list[tuple[Any, ...]]) -> None:
        """Apply an edit of the other replica."""
        for operation in change:
            dot, vector, *rest = operation
            if len(rest) == 1:
                sequences.remove(self.sequence, self.window, dot, rest[0])
                self.seqs[dot[0]] = dot[1]
            else:
                sequences.insert(self.sequence, self.window, dot, Context(vector, {}), *rest)
                self.seqs[dot[0]] = dot[1] + len(rest[2]) - 1
        self.unfolded += change

    def fold(self) -> None:
        """Forget everything: it is stable."""
        assert self.window is not None
        for dot, _, *rest in self.unfolded:
            if len(rest) == 1:
                sequences.fold_remove(self.sequence, self.window, dot, rest[0])
            else:
                sequences.fold_insert(self.sequence, self.window, dot, len(rest[2]))
        self.unfolded = []

    def text(self) -> str:
        """The whole text."""
        return b"".join(v for v in self.sequence if isinstance(v, bytes)).decode()


class ListEditor:
    """A plain list, for comparison: it merges nothing."""

    def __init__(self) -> None:
        self.letters: list[str] = []

    def edit(self, patch: Patch) -> None:
        """Apply a local edit."""
        position, deleted, inserted = patch
        self.letters[position : position + deleted] = inserted

    def merge(self, change: Any) -> None:
        """Apply an edit of the other replica."""
        raise NotImplementedError

    def text(self) -> str:
        """The whole text."""
        return "".join(self.letters)


class PycrdtEditor:
    """`pycrdt.Text`; its positions are bytes, so it is right for ASCII alone."""

    def __init__(self, me: int, *, shared: bool) -> None:
        pycrdt: Any = import_module("pycrdt")
        self.doc: Any = pycrdt.Doc(client_id=me)
        self.doc["text"] = self.content = pycrdt.Text()
        self.shared = shared

    def edit(self, patch: Patch) -> bytes | None:
        """Apply a local edit."""
        position, deleted, inserted = patch
        before = self.doc.get_state() if self.shared else None
        with self.doc.transaction():
            if deleted:
                del self.content[position : position + deleted]
            if inserted:
                self.content.insert(position, inserted)
        update: bytes | None = self.doc.get_update(before) if self.shared else None
        return update

    def merge(self, change: bytes) -> None:
        """Apply an edit of the other replica."""
        self.doc.apply_update(change)

    def text(self) -> str:
        """The whole text."""
        return str(self.content)


class LoroEditor:
    """`loro.LoroText`."""

    def __init__(self, me: int, *, shared: bool) -> None:
        loro: Any = import_module("loro")
        self.doc: Any = loro.LoroDoc()
        self.doc.peer_id = me
        self.content: Any = self.doc.get_text("text")
        self.updates: Any = loro.ExportMode.Updates
        self.shared = shared

    def edit(self, patch: Patch) -> bytes | None:
        """Apply a local edit."""
        position, deleted, inserted = patch
        before = self.doc.oplog_vv if self.shared else None
        if deleted:
            self.content.delete(position, deleted)
        if inserted:
            self.content.insert(position, inserted)
        self.doc.commit()
        update: bytes | None = self.doc.export(self.updates(before)) if self.shared else None
        return update

    def merge(self, change: bytes) -> None:
        """Apply an edit of the other replica."""
        self.doc.import_(change)

    def text(self) -> str:
        """The whole text."""
        return str(self.content.to_string())


def make_editor(name: str, me: int, shared: bool) -> Editor:
    if name == "list":
        return ListEditor()
    if name == "pycrdt":
        return PycrdtEditor(me, shared=shared)
    if name == "loro":
        return LoroEditor(me, shared=shared)
    if name == FACE:
        return FaceEditor()
    return MarmosetEditor(me, windowed=shared or name == FOLLOWED)


def load(data: Path, trace: str) -> dict[str, Any]:
    with gzip.open(data / f"{trace}.json.gz") as file:
        content: dict[str, Any] = json.load(file)
    return content


def replay_one(patches: list[Patch], editor: Editor) -> None:
    for patch in patches:
        editor.edit(patch)


def replay_followed(patches: list[Patch], editor: MarmosetEditor, follower: MarmosetEditor) -> None:
    """One writer, and a member that applies everything; both forget what is stable every few thousand edits."""
    for start in range(0, len(patches), FOLD_EVERY):
        for patch in patches[start : start + FOLD_EVERY]:
            follower.merge(editor.edit(patch))
        editor.fold()
        follower.fold()


def version_vectors(transactions: list[dict[str, Any]]) -> list[list[int]]:
    """For each transaction, how many of each agent's had been seen when it was made."""
    seen: list[list[int]] = []
    after: list[list[int]] = []
    for transaction in transactions:
        vector = [0, 0]
        for parent in transaction["parents"]:
            vector = [max(a, b) for a, b in zip(vector, after[parent], strict=True)]
        seen.append(vector)
        agent = transaction["agent"]
        after.append([n + (i == agent) for i, n in enumerate(vector)])
    return seen


def replay_two(transactions: list[dict[str, Any]], seen: list[list[int]], editors: list[Editor]) -> None:
    """Two writers; before each transaction its replica applies exactly what the transaction had seen."""
    changes: list[list[list[Any]]] = [[], []]
    applied = [0, 0]  # by each, of the other's
    for transaction, vector in zip(transactions, seen, strict=True):
        me = transaction["agent"]
        other = 1 - me
        if vector[me] != len(changes[me]) or vector[other] < applied[me]:
            raise SystemExit("this trace has more than one branch of an agent, which two replicas cannot replay")
        while applied[me] < vector[other]:
            for change in changes[other][applied[me]]:
                editors[me].merge(change)
            applied[me] += 1
        changes[me].append([editors[me].edit(patch) for patch in transaction["patches"]])
    for me in (0, 1):
        for transaction_changes in changes[1 - me][applied[me] :]:
            for change in transaction_changes:
                editors[me].merge(change)


def measure(data: Path, trace: str, name: str, repeat: int, profile: bool) -> dict[str, Any]:
    """One cell: seconds, bytes, and whether the text is right."""
    content = load(data, trace)
    transactions = content["txns"]
    patches: list[Patch] = [tuple(patch) for transaction in transactions for patch in transaction["patches"]]
    two = trace in TWO_WRITERS
    seen = version_vectors(transactions) if two else []
    seconds, busy, grown, right, equal = float("inf"), float("inf"), 0, True, True
    profiler = cProfile.Profile()
    for turn in range(repeat):
        editors = [make_editor(name, me, two) for me in ((1, 2) if two or name == FOLLOWED else (1,))]
        gc.collect()
        before = resident_bytes(os.getpid())
        if profile:
            profiler.enable()
        start, start_busy = time.perf_counter(), time.process_time()
        if two:
            replay_two(transactions, seen, editors)
        elif len(editors) > 1:
            assert isinstance(editors[0], MarmosetEditor) and isinstance(editors[1], MarmosetEditor)
            replay_followed(patches, editors[0], editors[1])
        else:
            replay_one(patches, editors[0])
        seconds = min(seconds, time.perf_counter() - start)
        busy = min(busy, time.process_time() - start_busy)
        profiler.disable()
        if turn == 0:
            gc.collect()
            grown = resident_bytes(os.getpid()) - before
        texts = {editor.text() for editor in editors}
        equal = equal and len(texts) == 1
        right = right and texts == {content["endContent"]} and ends_at_rest(editors)
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    return {
        "edits": len(patches),
        "seconds": seconds,
        "processor_seconds": busy,
        "bytes": grown,
        "right": right,
        "equal": equal,
    }


def ends_at_rest(editors: list[Editor]) -> bool:
    """Whether replicas of marmoset's structure, once everything is stable, keep nothing and have the same ids."""
    ids = []
    for editor in editors:
        if isinstance(editor, MarmosetEditor) and editor.window is not None:
            editor.fold()
            if editor.window or editor.sequence.removed_count:
                return False
            ids.append(editor.sequence.ranges(0, len(editor.sequence)))
    return all(each == ids[0] for each in ids)


def names_for(trace: str) -> list[str]:
    others = [name for name in ("pycrdt", "loro") if find_spec(name) is not None]
    if trace in TWO_WRITERS:
        return [STRUCTURE, *others]
    return [*OURS, "list", *others]


def targets_of(rows: list[dict[str, Any]]) -> Iterator[Target]:
    """The face beside the list and loro, as far as they were measured."""
    of_trace = {row["through"]: row for row in rows if row["trace"] == TARGETS_FOR}
    if FACE not in of_trace:
        return
    seconds, size = of_trace[FACE]["processor_seconds"], of_trace[FACE]["bytes"]
    if "list" in of_trace:
        yield Target("time beside a list", seconds / of_trace["list"]["processor_seconds"], 1.0)
    if "loro" in of_trace:
        yield Target("time beside loro", seconds / of_trace["loro"]["processor_seconds"], LORO_MAX)
        yield Target("memory beside loro", size / of_trace["loro"]["bytes"], 1.0)


def main() -> int:
    parser = results.parser("bench-traces DATA=FOLDER", "Replay real editing histories.")
    parser.add_argument("--data", type=Path, required=True, help="the directory of the .json.gz files")
    parser.add_argument("--repeat", type=int, default=3, help="passes; the best time counts")
    parser.add_argument("--only", help="only this column, for example marmoset")
    parser.add_argument("--profile", action="store_true", help="where the time goes, on stderr")
    parser.add_argument("--cell", nargs=2, metavar=("TRACE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        trace, name = arguments.cell
        print(json.dumps(measure(arguments.data, trace, name, arguments.repeat, arguments.profile)))
        return 0
    versions = [f"{name} {metadata.version(name)}" for name in ("pycrdt", "loro") if find_spec(name) is not None]
    others = ", ".join(versions) or "neither pycrdt nor loro installed"
    print(f"{build.kind()} build, Python {sys.version.split()[0]}, {others}")
    print(f"{'trace':<18}{'through':<22}{'edits':>9}{'seconds':>10}{'processor':>11}{'µs/edit':>10}{'MB':>8}  text")
    failed, rows = False, []
    for trace in (*ONE_WRITER, *TWO_WRITERS):
        for name in names_for(trace):
            if arguments.only and name != arguments.only:
                continue
            command = [
                sys.executable,
                "-m",
                "bench.editing_traces",
                "--data",
                str(arguments.data),
                "--repeat",
                str(arguments.repeat),
            ]
            command += ["--profile"] if arguments.profile else []
            cell = subprocess.run([*command, "--cell", trace, name], stdout=subprocess.PIPE, check=False)
            if cell.returncode:
                print(f"{trace:<18}{name:<22}  failed")
                failed = failed or name in OURS
                continue
            row = json.loads(cell.stdout)
            rows.append({"trace": trace, "through": name, **row})
            text = "right" if row["right"] else "equal on both, not the recorded one" if row["equal"] else "wrong"
            print(
                f"{trace:<18}{name:<22}{row['edits']:>9,}{row['seconds']:>10.2f}{row['processor_seconds']:>11.2f}"
                f"{row['processor_seconds'] / row['edits'] * 1e6:>10.2f}{row['bytes'] / 1e6:>8.1f}  {text}",
                flush=True,
            )
            failed = failed or (name in OURS and not row["right"])
    targets = list(targets_of(rows))
    results.show_targets(targets)
    results.write("editing_traces", arguments, rows, targets)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
