"""Change an archive forever and print every acknowledged change; killed by test_crash."""

import sys

import numpy as np

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import make_grid, make_vectors


def main() -> None:
    """Add, replace, rename, remove and compact in random order."""
    folder, seed = sys.argv[1], int(sys.argv[2])
    rng = np.random.default_rng(seed)
    archive = CodeStore.open(folder)
    number = 0
    while True:
        scenes = {record.scene: record.num_tiles for record in archive.scenes()}
        action = rng.choice(["add", "add", "add", "replace", "rename", "remove", "compact"])
        if action == "compact":
            print("begin compact - 0", flush=True)
            archive.compact()
            print("done compact - 0", flush=True)
            continue
        if action == "add" or not scenes:
            name, count = f"{seed}-{number}", int(rng.integers(1, 400))
            number += 1
        else:
            name, count = str(rng.choice(list(scenes))), int(rng.integers(1, 400))
        if action == "remove" and scenes:
            print(f"begin remove {name} 0", flush=True)
            archive.remove_scenes([name])
            print(f"done remove {name} 0", flush=True)
            continue
        if action == "rename" and scenes:
            print(f"begin rename {name} {seed}-{number}", flush=True)
            archive.rename_scenes({name: f"{seed}-{number}"})
            print(f"done rename {name} {seed}-{number}", flush=True)
            number += 1
            continue
        print(f"begin set {name} {count}", flush=True)
        codes = np.full((count, 8), count % 251, np.uint8)
        record = SceneRecord(scene=name, num_tiles=count)
        frame = make_grid(count, scene=name)
        vectors = make_vectors(archive, count)
        archive.add_codes(codes, frame, vectors=vectors, scenes=[record], replace_scenes=[name])
        print(f"done set {name} {count}", flush=True)


if __name__ == "__main__":
    main()
