"""Pack hashing activations into binary codes and compute Hamming distances."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import CodeLengthError

__all__ = [
    "MAX_BITS",
    "check_codes",
    "check_num_bits",
    "code_words",
    "hamming_distances",
    "pack_codes",
    "unpack_codes",
]

MAX_BITS = 1024


def check_num_bits(num_bits: int) -> int:
    """Check that codes of this length can be packed and searched.

    Args:
        num_bits: Bits per code.

    Returns:
        The same number.

    Raises:
        CodeLengthError: If the number is not a multiple of 8 between 8 and 1,024.
    """
    if num_bits % 8 or not 8 <= num_bits <= MAX_BITS:
        msg = (
            f"num_bits is {num_bits}, but codes are packed into whole bytes: "
            f"use a multiple of 8 from 8 to {MAX_BITS}, such as 64."
        )
        raise CodeLengthError(msg)
    return num_bits


def check_codes(
    codes: npt.NDArray[np.uint8], *, num_bits: int, what: str = "codes"
) -> npt.NDArray[np.uint8]:
    """Check that codes are packed and as long as an archive's.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).
        num_bits: Bits per code in the archive.
        what: Their name in error messages.

    Returns:
        The codes, C-contiguous.

    Raises:
        CodeLengthError: If they are not packed or have another length.
    """
    array = np.asarray(codes)
    if array.dtype != np.uint8 or array.ndim != 2:
        msg = (
            f"{what} have dtype {array.dtype} and shape {array.shape}, but must be uint8 with "
            f"shape (n, {num_bits // 8}); make them with pack_codes."
        )
        raise CodeLengthError(msg)
    if array.shape[1] * 8 != num_bits:
        msg = (
            f"{what} have {array.shape[1] * 8} bits but the archive was made with "
            f"{num_bits}; use the hasher stored in the archive."
        )
        raise CodeLengthError(msg)
    return np.ascontiguousarray(array)


def pack_codes(activations: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Binarise hashing activations at 0.5 and pack eight bits into a byte.

    Args:
        activations: Sigmoid outputs in [0, 1], shape (tiles, bits), bits a multiple of 8.

    Returns:
        Codes, uint8, shape (tiles, bits / 8), most significant bit first.

    Raises:
        CodeLengthError: If the number of bits is not a multiple of 8 between 8 and 1,024.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258

    >>> pack_codes(np.array([[0.9, 0.1, 0.2, 0.0, 0.0, 0.0, 0.0, 0.8]]))
    array([[129]], dtype=uint8)
    """
    check_num_bits(activations.shape[-1])
    return np.packbits(activations > 0.5, axis=-1)


def unpack_codes(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Unpack codes into one byte per bit.

    Args:
        codes: Packed codes, uint8, shape (tiles, bits / 8).

    Returns:
        Zeros and ones, uint8, shape (tiles, bits).

    >>> unpack_codes(np.array([[129]], dtype=np.uint8))
    array([[1, 0, 0, 0, 0, 0, 0, 1]], dtype=uint8)
    """
    return np.unpackbits(codes, axis=-1)


def hamming_distances(
    queries: npt.NDArray[np.uint8], codes: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int32]:
    """Count the differing bits between every query and every code.

    Meant for small sets, and as the reference that faster searches are tested against.

    Args:
        queries: Packed codes, uint8, shape (queries, bits / 8).
        codes: Packed codes, uint8, shape (tiles, bits / 8).

    Returns:
        Hamming distances, int32, shape (queries, tiles).

    Raises:
        CodeLengthError: If the two have different numbers of bits.

    >>> hamming_distances(np.array([[255]], dtype=np.uint8), np.array([[0], [254]], dtype=np.uint8))
    array([[8, 1]], dtype=int32)
    """
    if queries.shape[-1] != codes.shape[-1]:
        msg = (
            f"query codes have {queries.shape[-1] * 8} bits but the codes to compare with have "
            f"{codes.shape[-1] * 8}; make both with the same hasher."
        )
        raise CodeLengthError(msg)
    queries, codes = code_words(queries), code_words(codes)
    distances = np.zeros((len(queries), len(codes)), dtype=np.int32)
    for word in range(codes.shape[-1]):
        distances += np.bitwise_count(queries[:, None, word] ^ codes[None, :, word])
    return distances


def code_words(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.unsignedinteger[Any]]:
    """View packed codes as words of 8, 4, 2 or 1 byte, the largest that divides their length.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).

    Returns:
        Words, shape (n, words per code); the same memory if the codes are C-contiguous.

    >>> code_words(np.zeros((3, 12), dtype=np.uint8)).shape
    (3, 3)
    """
    codes = np.ascontiguousarray(codes)
    for kind in (np.uint64, np.uint32, np.uint16):
        if codes.shape[-1] % np.dtype(kind).itemsize == 0:
            return codes.view(kind)
    return codes
