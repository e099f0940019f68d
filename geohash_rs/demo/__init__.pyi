# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .landscape import Cover as Cover
from .landscape import Landscape as Landscape
from .scenes import PLACES as PLACES
from .scenes import write_patches as write_patches
from .scenes import write_scenes as write_scenes
