"""What a running stanza is besides its addresses: name, configuration, counters, admission, and who follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.logger import Logger

from multid.net.admission import Access, Admission
from multid.net.counters import Counters

if TYPE_CHECKING:
    from multid.config.model import ServiceConfig
    from multid.net.follower import Follower
    from multid.net.peer import Peer
    from multid.service import Runtime


class Stanza(Service):
    """One stanza of the file, as far as its connections and its datagrams share it."""

    log = Logger()

    def __init__(self, name: str, config: ServiceConfig, runtime: Runtime) -> None:
        self.setName(name)
        self.name: str = name
        self.config: Any = config
        self.runtime = runtime
        self.counters = Counters()
        self.admission = Admission(config.limits, Access(config.allow, config.deny))
        self.followers: list[Follower] = []
        """Whoever wants to see each event of the service; see `tell`."""

    def retune(self, config: ServiceConfig) -> None:
        """Judge and serve by another configuration from now on."""
        self.config = config
        self.admission.retune(config.limits, Access(config.allow, config.deny))

    def tell(self, event: str, peer: Peer | str, **values: Any) -> None:
        """Show an event to whoever follows the service; ask `followers` first where events are many."""
        for follower in self.followers:
            follower(event, {"peer": str(peer), **values})
