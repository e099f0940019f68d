# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .tiles import Thumbnails as Thumbnails
