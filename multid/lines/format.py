"""How a batch stands in a file: the whole batch at once, each record ended by one LF. Pure."""

from collections.abc import Callable

from multid.lines.record import Batch, stamp


def text(batch: Batch) -> bytes:
    """Return `TIME SERVICE PEER TEXT` for each line."""
    prefix = f"{stamp(batch.time)} {batch.source.service} {batch.source.peer} ".encode()
    block = batch.escaped
    # The LF that ends the last line yields one prefix too many: the first line's, moved to the front.
    body = block.replace(b"\n", b"\n" + prefix)
    batch.count = (len(body) - len(block)) // len(prefix)  # counting them otherwise would cost as much as the rest
    return b"".join((prefix, memoryview(body)[: -len(prefix)]))


def raw(batch: Batch) -> bytes:
    """Return each line as received and LF."""
    return batch.lines.block


FORMATS: dict[str, Callable[[Batch], bytes]] = {"text": text, "raw": raw}
