# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .features import Features as Features
from .features import make_features as make_features
from .fits import fit_head as fit_head
from .measures import Ranker as Ranker
from .plots import write_plots as write_plots
from .protocols import PROTOCOLS as PROTOCOLS
from .protocols import LabelledTiles as LabelledTiles
from .protocols import Trial as Trial
from .protocols import make_trials as make_trials
from .report import summary_table as summary_table
from .run import METHODS as METHODS
from .run import evaluate as evaluate
from .tiles import open_tiles as open_tiles
