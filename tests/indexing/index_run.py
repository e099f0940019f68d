"""Index a folder in a separate process, which a test kills or limits."""

import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSError
from geohash_rs.indexing import writer as archive_writer


def index_run(folder: Path, path: Path, workers: int, limit: int, told: Connection) -> None:
    """Index, commit after every scene, and report what was committed.

    Args:
        folder: Scenes.
        path: Archive.
        workers: Processes that read.
        limit: Largest size of a file in bytes; 0 for no limit.
        told: Receives "started", every scene that was committed, and kind and text of an error.
    """
    torch.set_num_threads(1)
    archive_writer.COMMIT_SECONDS = 0.0
    archive = Archive.open(path)
    add_codes = archive.add_codes

    def add_and_tell(codes: object, tiles: object, **options: object) -> object:
        ids = add_codes(codes, tiles, **options)
        for record in options["scenes"]:
            told.send(record.scene)
        return ids

    archive.add_codes = add_and_tell
    scenes = Scenes(folder)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    told.send("started")
    try:
        archive.add(scenes, workers=workers, batch_size=4)
    except GeoHashRSError as error:
        told.send(f"{type(error).__name__}: {error}")
