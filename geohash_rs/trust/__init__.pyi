# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .calibration import Calibration as Calibration
from .promise import Promise as Promise
from .promise import promise_of as promise_of
