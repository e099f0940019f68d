# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .matches import Matches as Matches
