"""What a service counts: plain integers on the objects that count, read only when somebody asks."""

from collections import Counter


class Counters:
    """The numbers of one service since the daemon started; they outlive a change of its configuration."""

    __slots__ = (
        "connections",
        "connections_total",
        "datagrams",
        "dropped",
        "errors",
        "received_bytes",
        "rejected",
        "sent_bytes",
        "tls_failures",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.connections_total = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.datagrams = 0
        self.errors = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.tls_failures: Counter[str] = Counter()

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """Return every number by its name; those with reasons as a mapping of reason to number."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
