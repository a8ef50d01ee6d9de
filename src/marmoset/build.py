"""Which build of marmoset runs (floor 0): compiled by mypyc, or the same files interpreted.

A wheel that was built where there is a C compiler holds both: extension modules for the hot floors (`COMPILED_MODULES`
in setup.py) and all sources. Python then prefers the extension modules, and finds the sources where there are none.
`MARMOSET_BUILD` decides otherwise, at build time (see setup.py) and at run time: `interpreted` passes the extension
modules over, `compiled` refuses to run without them. Nothing else in marmoset asks which build it is.

Both do the same; compiled code alone does not see what somebody puts in the place of its functions and constants.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Final

from marmoset.errors import UsageError

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414  # the compiled modules have it from here
else:

    def mypyc_attr(**_options):
        """What mypyc is told of a class, and nobody else has to know."""
        return lambda cls: cls


VARIABLE: Final = "MARMOSET_BUILD"
COMPILED: Final = "compiled"
INTERPRETED: Final = "interpreted"

_PROBE: Final = "marmoset.ids"
"""A module that every compiled build has compiled."""


class _SourcesOnly:
    """Finds the modules of this package by their sources alone."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is None or not name.startswith("marmoset."):
            return None
        for folder in path:
            found = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name, target)
            if found is not None:
                return found
        return None


def choose(environ: Mapping[str, str]) -> None:
    """Have modules that are imported from here on found as the environment wants it. Called once, by the package."""
    if environ.get(VARIABLE) == INTERPRETED:
        sys.meta_path.insert(0, _SourcesOnly)


def kind() -> str:
    """The build that runs: `compiled` or `interpreted`. O(1) but for a look at the file system."""
    found = find_spec(_PROBE)
    return INTERPRETED if found is None or isinstance(found.loader, SourceFileLoader) else COMPILED


def check(environ: Mapping[str, str]) -> None:
    """Refuse to go on with another build than the environment demands.

    Raises:
        UsageError: the compiled build is demanded and not there, or nobody knows what is demanded.
    """
    wanted = environ.get(VARIABLE, "")
    if wanted not in ("", COMPILED, INTERPRETED):
        raise UsageError(f"{VARIABLE}: {wanted!r} is not accepted; it takes {COMPILED} or {INTERPRETED}")
    if wanted == COMPILED and kind() != COMPILED:
        raise UsageError(
            f"{VARIABLE}: compiled is demanded, and this installation has no compiled modules for this Python; "
            f"install it with a C compiler and {VARIABLE}=compiled, or run it without {VARIABLE}"
        )
