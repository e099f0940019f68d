# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .archive import PostGISArchive as PostGISArchive
from .publication import PublishReport as PublishReport
from .publication import publish as publish
