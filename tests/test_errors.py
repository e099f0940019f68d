"""Errors and warnings: what is ignored, and that it is ignored no longer than asked."""

import threading
import warnings

import numpy as np

from geohash_rs.errors import ignore_warnings
from geohash_rs.scenes import file as scene_file
from tests.ground import write


def test_a_category_is_ignored_only_in_the_block():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with ignore_warnings(DeprecationWarning):
            warnings.warn("ignored", DeprecationWarning, stacklevel=1)
            warnings.warn("another category", UserWarning, stacklevel=1)
        warnings.warn("later", DeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["another category", "later"]


def test_threads_that_overlap_leave_the_filters_as_they_were():
    """One thread enters while the other ignores everything, and leaves last."""
    entered, leave = threading.Event(), threading.Event()

    def work():
        with ignore_warnings(DeprecationWarning):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    before = list(warnings.filters)
    with ignore_warnings():
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join()
    assert list(warnings.filters) == before


def test_a_scene_opened_in_a_thread_does_not_silence_later_warnings(tmp_path, monkeypatch):
    """A thread opens a scene while another library ignores every warning for a moment."""
    path = write(tmp_path / "scene.tif", np.zeros((1, 8, 8), np.uint8))
    opening, go_on = threading.Event(), threading.Event()
    open_slowly = scene_file._open

    def slow(name):
        opening.set()
        go_on.wait(10)
        return open_slowly(name)

    monkeypatch.setattr(scene_file, "_open", slow)
    thread = threading.Thread(target=lambda: scene_file.open_raster(path).close())
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        assert opening.wait(10)
    go_on.set()
    thread.join()
    assert list(warnings.filters) == before
