"""The version (floor 0), told by STATUS, INFO and the command line."""

from typing import Final

VERSION: Final = "0.1.0"
