import numpy as np
import torch

from geohash_rs.scenes.buffers import MAX_BUFFERS, BufferPool


def test_memory_is_reused_only_when_nothing_refers_to_it():
    pool = BufferPool()
    first = pool.lend((4, 3, 8, 8), np.uint16)
    first[:] = 7
    place = first.ctypes.data
    tensor = torch.from_numpy(first[:2])[1:, 0]  # a view of a view, in another library
    del first
    second = pool.lend((4, 3, 8, 8), np.uint16)
    second[:] = 9
    assert second.ctypes.data != place
    assert (tensor.to(torch.int32) == 7).all()
    del tensor
    smaller = pool.lend((2, 3, 8, 8), np.float32)
    assert smaller.ctypes.data == place
    assert smaller.dtype == np.float32


def test_arrays_that_are_kept_do_not_share_memory():
    pool = BufferPool()
    kept = [pool.lend((10,), np.int64) for _ in range(3 * MAX_BUFFERS)]
    for number, array in enumerate(kept):
        array[:] = number
    assert [int(array[0]) for array in kept] == list(range(len(kept)))
    assert all((array == array[0]).all() for array in kept)
