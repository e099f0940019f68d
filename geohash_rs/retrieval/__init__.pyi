# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .searchable import Searchable as Searchable
