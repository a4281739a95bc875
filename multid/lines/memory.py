"""What makes large short-lived buffers cheap.

Each chunk of lines makes a few buffers of some hundred KiB. glibc gives the top of its heap back to the kernel after
every one of them, and the page faults of getting it again cost as much as all the work on the lines.
"""

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT = 16 * 1024 * 1024
_LARGE = 4 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let the process keep up to 16 MiB of freed memory for its next buffer; False where the C library cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
