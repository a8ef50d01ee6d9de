"""The compiled build: mypyc makes extension modules of the hot floors, from the files that otherwise run interpreted.

MARMOSET_BUILD says what a wheel holds. `compiled`: extension modules, or the build fails. `interpreted`: none. Not set:
extension modules where a C compiler and the headers of Python are there. An editable install is always interpreted: it
runs what is being edited, and extension modules would be older than that.

MARMOSET_BUILD_OPTIMIZE is the level of optimization of the C compiler, 3 unless set; lower ones compile faster.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from setuptools import Extension, setup

VARIABLE: Final = "MARMOSET_BUILD"
OPTIMIZE_VARIABLE: Final = "MARMOSET_BUILD_OPTIMIZE"

COMPILED_MODULES: Final = (
    "ids.py",
    "clocks.py",
    "hashing.py",
    "untracked.py",
    "codec/frames.py",
    "codec/operations.py",
    "codec/runs.py",
    "codec/wire.py",
    "crdts/*.py",
    "keyspace.py",
    "replication/*.py",
    "membership/*.py",
    "node/*.py",
    "resp/*.py",
    "commands/*.py",
    "session.py",
    "runtime/core.py",
    "server.py",
    "api/access.py",
    "api/store.py",
    "api/children.py",
    "api/base.py",
)
"""Floors 1 to 8 without the structures of `codec`, and of those above what every command and every call of the Python
face passes; in src/marmoset."""

LEFT_INTERPRETED: Final = (
    "crdts/exports.py",  # structures of msgspec, whose metaclass mypyc does not know
)


def compiled_files() -> list[str]:
    """The sources that mypyc compiles, sorted."""
    package = Path("src/marmoset")
    left = {package / name for name in LEFT_INTERPRETED}
    paths = {path for pattern in COMPILED_MODULES for path in package.glob(pattern)} - left
    return sorted(str(path) for path in paths if path.name != "__init__.py")


def has_compiler() -> bool:
    """Whether a C file that includes Python's headers compiles here."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint main(void) { return 0; }\n", encoding="ascii")
        words = [*compiler, "-I", sysconfig.get_path("include"), "-c", str(source), "-o", str(source.with_suffix(".o"))]
        try:
            return subprocess.run(words, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def is_wanted() -> bool:
    """Whether what setuptools is asked for now holds extension modules."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "compiled", "interpreted"):
        raise SystemExit(f"{VARIABLE}: {wanted!r} is not accepted; it takes compiled or interpreted")
    if {"editable_wheel", "develop"} & set(sys.argv):
        if wanted == "compiled":
            raise SystemExit(f"an editable install is interpreted; build without -e, or without {VARIABLE}")
        return False
    if wanted == "interpreted" or not {"bdist_wheel", "build", "build_ext", "install"} & set(sys.argv):
        return False
    return wanted == "compiled" or has_compiler()


def extension_modules() -> list[Extension]:
    """What mypyc makes of the hot floors. One group, so that calls between its modules are calls of C functions."""
    from mypyc.build import mypycify  # noqa: PLC0415  # not needed for an interpreted build

    modules = mypycify(
        ["--config-file=pyproject.toml", *compiled_files()],
        opt_level=os.environ.get(OPTIMIZE_VARIABLE, "3"),
        multi_file=True,  # a C file for each module: one of 340,000 lines takes the compiler minutes
        group_name="marmoset",
    )
    if os.name == "posix":  # nobody else may call what is inside, so calls between modules take no detour
        for module in modules:
            module.extra_compile_args.append("-fvisibility=hidden")
    return modules


if __name__ == "__main__":
    setup(ext_modules=extension_modules() if is_wanted() else [])
