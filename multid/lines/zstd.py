"""zstd by the system's own library, which every Debian has: RFC 8878 frames with a checksum."""

import ctypes
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, BinaryIO

_LIBRARY = "libzstd.so.1"
_LEVEL, _CHECKSUM = 100, 201  # ZSTD_cParameter
_CONTINUE, _END = 0, 2  # ZSTD_EndDirective
_PIECE = 256 * 1024


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t))


@lru_cache(maxsize=1)
def library() -> Any:
    """Return the library; ImportError where it is not installed."""
    try:
        zstd = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ImportError(f"zstd needs {_LIBRARY} (package libzstd1): {error}") from None
    zstd.ZSTD_createCCtx.restype = ctypes.c_void_p
    zstd.ZSTD_freeCCtx.argtypes = (ctypes.c_void_p,)
    zstd.ZSTD_CCtx_setParameter.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    zstd.ZSTD_compressStream2.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    zstd.ZSTD_compressStream2.restype = ctypes.c_size_t
    zstd.ZSTD_isError.argtypes = zstd.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
    zstd.ZSTD_getErrorName.restype = ctypes.c_char_p
    return zstd


def compress(pieces: Iterable[bytes], target: BinaryIO, level: int = 3) -> None:
    """Write all the pieces, compressed, to `target`."""
    zstd = library()
    context = zstd.ZSTD_createCCtx()
    try:
        zstd.ZSTD_CCtx_setParameter(context, _LEVEL, level)
        zstd.ZSTD_CCtx_setParameter(context, _CHECKSUM, 1)
        for piece in pieces:
            _push(zstd, context, piece, _CONTINUE, target)
        _push(zstd, context, b"", _END, target)
    finally:
        zstd.ZSTD_freeCCtx(context)


def _push(zstd: Any, context: int, piece: bytes, directive: int, target: BinaryIO) -> None:
    held = ctypes.create_string_buffer(piece, max(1, len(piece)))
    room = ctypes.create_string_buffer(_PIECE)
    given = _Buffer(ctypes.addressof(held), len(piece), 0)
    while True:
        taken = _Buffer(ctypes.addressof(room), _PIECE, 0)
        left = zstd.ZSTD_compressStream2(context, ctypes.byref(taken), ctypes.byref(given), directive)
        if zstd.ZSTD_isError(left):
            raise OSError(f"zstd: {zstd.ZSTD_getErrorName(left).decode()}")
        target.write(room.raw[: taken.at])
        if given.at == given.size and (directive == _CONTINUE or not left):
            return
