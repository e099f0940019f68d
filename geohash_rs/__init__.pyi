# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .archive import Archive as Archive
from .concepts.area_table import Areas as Areas
from .concepts.concept import Concept as Concept
from .errors import GeoHashRSError as GeoHashRSError
from .hashing.data.class_folder_module import ClassFolderDataModule as ClassFolderDataModule
from .hashing.data.scene_module import LabelledSceneDataModule as LabelledSceneDataModule
from .hashing.fit.training_free import fit_hasher as fit_hasher
from .hashing.fit.unlabelled import fit_on_scenes as fit_on_scenes
from .hashing.hasher import Hasher as Hasher
from .hashing.shipped import load_hasher as load_hasher
from .hashing.train.task import HashingTask as HashingTask
from .opening import open_or_create as open_or_create
from .retrieval.matches import Matches as Matches
from .scenes.dataset import Scenes as Scenes
from .scenes.dataset import Tile as Tile
from .scenes.grid import TileGrid as TileGrid

__version__: str
