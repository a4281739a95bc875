"""The metrics at `/metrics`, in Prometheus' text format: plain integers of the services, read when somebody asks.

Names, labels and meanings are a contract; a kind adds numbers of its own as `Measure`s of a name that stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from multid.daemon import Daemon

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "multid_connections": ("Connections open now.", ()),
    "multid_mail_queue_messages": ("Mails in the queue, by state.", ("state",)),
    "multid_mail_queue_oldest_seconds": ("Age of the oldest mail in the queue.", ()),
}
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "multid_connections_total": ("Connections accepted.", ()),
    "multid_rejected_total": ("Connections refused, by reason.", ("reason",)),
    "multid_tls_failures_total": ("TLS handshakes that failed, by reason.", ("reason",)),
    "multid_received_bytes_total": ("Octets received.", ()),
    "multid_sent_bytes_total": ("Octets sent.", ()),
    "multid_datagrams_total": ("Datagrams received.", ()),
    "multid_dropped_total": ("Datagrams and lines dropped, by reason.", ("reason",)),
    "multid_lines_total": ("Lines received.", ()),
    "multid_mail_accepted_total": ("Mails accepted (250 after the final dot).", ()),
    "multid_mail_delivered_total": ("Recipients delivered, by route.", ("route",)),
    "multid_mail_deferred_total": ("Deliveries put off by a failure that may pass.", ()),
    "multid_mail_bounced_total": ("Recipients given up, whose sender was told.", ()),
}
_PLAIN = ("connections_total", "received_bytes", "sent_bytes", "datagrams")
_BY_REASON = ("rejected", "dropped", "tls_failures")


class Metrics:
    """A collector over the daemon; `text` is the answer to a scrape."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return every metric in the text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Any]:
        """Collector API: nothing is collected when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Collector API."""
        families = _families()
        for service in self._daemon:
            for name, labels, value in _numbers(service):
                families[name].add_metric([service.name, *labels], value)
        yield from families.values()
        yield from self._reloads()

    def _reloads(self) -> Iterator[Any]:
        reloads = self._daemon.reloads
        is_good = reloads.last is None or not reloads.last.is_refused
        name, text = "multid_config_last_reload_successful", "Whether the last reload was applied."
        yield GaugeMetricFamily(name, text, value=float(is_good))
        name, text = "multid_config_last_reload_success_timestamp_seconds", "When a configuration was last applied."
        yield GaugeMetricFamily(name, text, value=reloads.succeeded_at)


def _families() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for kind, known in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
        for name, (text, labels) in known.items():
            made[name] = kind(name, text, labels=["service", *labels])
    return made


def _numbers(service: Any) -> Iterator[tuple[str, tuple[str, ...], float]]:
    counters = service.counters
    yield "multid_connections", (), counters.connections
    for name in _PLAIN:
        yield f"multid_{name.removesuffix('_total')}_total", (), getattr(counters, name)
    for name in _BY_REASON:
        for reason, count in getattr(counters, name).items():
            yield f"multid_{name}_total", (reason,), count
    for measure in service.measures():
        yield measure.name, measure.labels, measure.value
