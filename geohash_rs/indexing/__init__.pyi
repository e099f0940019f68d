# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .report import AddReport as AddReport
