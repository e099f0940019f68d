# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .codes import CODE_ENDINGS as CODE_ENDINGS
from .codes import check_codes_output as check_codes_output
from .codes import write_codes as write_codes
from .formats import ENDINGS as ENDINGS
from .formats import check_ending as check_ending
from .formats import write as write
from .formats import write_batches as write_batches
from .geojson import geojson_features as geojson_features
