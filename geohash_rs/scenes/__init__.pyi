# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .file import SceneFile as SceneFile
from .file import scene_key as scene_key
from .grid import Edges as Edges
from .grid import GridSettings as GridSettings
from .reader import TileBatch as TileBatch
from .reader import TileReader as TileReader
