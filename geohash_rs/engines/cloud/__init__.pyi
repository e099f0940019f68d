# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .cache import open_archive as open_archive
from .sync import pull as pull
from .sync import push as push
