# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .archive import RayArchive as RayArchive
from .index import index_scenes as index_scenes
