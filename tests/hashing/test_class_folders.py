"""Class folders are found where they are."""

import pytest

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.class_folders import ClassFolders


def test_a_split_into_folders_is_refused_with_their_names(folder, tmp_path):
    for part in ("train", "test"):
        for path in folder.glob("*/*.png"):
            target = tmp_path / "split" / part / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match=r"holds 2 folders with .* \(test, train\); give one"):
        ClassFolders.open(tmp_path / "split")
    assert len(ClassFolders.open(tmp_path / "split" / "train")) == 30


def test_one_folder_somewhere_below_is_found(folder):
    assert ClassFolders.open(folder.parent).root == folder
    (folder / "c0" / "thumbs" / "small").mkdir(parents=True)
    (folder / "c0" / "thumbs" / "small" / "0.png").write_bytes((folder / "c0/0.png").read_bytes())
    assert ClassFolders.open(folder.parent).root == folder
