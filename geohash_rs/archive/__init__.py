"""Packed codes and their tiles on disk: kept safely, searched exactly."""

from geohash_rs.archive.archive import CodeArchive
from geohash_rs.archive.filters import Region, TimeRange, parse_region, parse_time
from geohash_rs.archive.hasher_file import HasherFile
from geohash_rs.archive.records import SceneRecord
from geohash_rs.archive.search import SearchResult
from geohash_rs.archive.verification import Damage, VerifyReport, verify_archive

__all__ = [
    "CodeArchive",
    "Damage",
    "HasherFile",
    "Region",
    "SceneRecord",
    "SearchResult",
    "TimeRange",
    "VerifyReport",
    "parse_region",
    "parse_time",
    "verify_archive",
]
