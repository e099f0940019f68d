# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .app import create_app as create_app
from .server import run_server as run_server
