# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .code_store import CodeStore as CodeStore
from .code_table import CodeTable as CodeTable
from .disk.hasher_file import HasherFile as HasherFile
from .disk.records import SceneRecord as SceneRecord
from .search.filters import Region as Region
from .search.filters import TimeRange as TimeRange
from .search.filters import parse_region as parse_region
from .search.filters import parse_time as parse_time
from .search.nearest import SearchResult as SearchResult
from .searchable import Searchable as Searchable
from .verification import Damage as Damage
from .verification import VerifyReport as VerifyReport
from .verification import verify_archive as verify_archive
