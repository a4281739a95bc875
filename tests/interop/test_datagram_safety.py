"""What the UDP services may never do to anybody, shown with forged datagrams in a network namespace."""

from collections.abc import Iterator

import pytest

from multid.net.guard import LOOPING_PORTS
from tests.namespace import apart, call, run
from tests.process import Multid

HOST, PEER, OTHER = "192.0.2.7", "192.0.2.8", "192.0.2.9"
PORTS = {"echo": 7, "discard": 9, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37, "ntp": 123, "lab": 7007}
SIZES = list(range(1473))


@pytest.fixture(scope="module")
def multid(tmp_path_factory) -> Iterator[Multid]:
    """Every UDP service on every address, held to no rate, so that only the other guards are there to help."""
    services: dict = {
        name: {"listen": [f"udp:{port}", f"udp6:{port}"], "limits": {"rate": "1000000/s", "total_rate": "1000000/s"}}
        for name, port in PORTS.items()
    }
    services["qotd"]["text"] = "A quotation that is longer than most of what it is asked with."
    services["ntp"]["when_unsynchronised"] = "serve"
    services["lab"]["type"] = "responder"
    services["lab"]["reply"] = "You at {peer} said {data}, and it is {ctime}"
    services["lab"]["unit"] = "datagram"
    prefix = apart((HOST, PEER, OTHER, "2001:db8::7", "2001:db8::8"))
    with Multid(tmp_path_factory.mktemp("safety"), {"services": services}, prefix=prefix) as multid:
        multid.wait_for("lab: responder up")
        yield multid
        multid.stop()
        assert "Traceback" not in multid.log


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_one_forged_datagram_between_any_two_services_is_answered_at_most_once(multid: Multid, host: str) -> None:
    """Every ordered pair, each service with itself too: none is answered but NTP from NTP's own port, once."""
    ports = list(PORTS.values())
    assert call(multid.process.pid, "pairs", host, ports, ports, 0.01) == 1


def test_no_port_that_answers_by_itself_anywhere_is_answered(multid: Multid) -> None:
    sources = sorted(LOOPING_PORTS - {123})
    assert call(multid.process.pid, "pairs", HOST, list(PORTS.values()), sources, 0.001) == 0


@pytest.mark.parametrize("name", [name for name in PORTS if name != "discard"])
@pytest.mark.parametrize(("host", "peer", "headers"), [(HOST, PEER, 28), ("2001:db8::7", "2001:db8::8", 48)])
def test_a_stranger_gets_at_most_a_fifth_more_than_it_sent(multid: Multid, name, host, peer, headers) -> None:
    answers = call(multid.process.pid, "sizes", peer, (host, PORTS[name]), SIZES)
    for size, answer in answers.items():
        assert 10 * (answer + headers) <= 12 * (int(size) + headers), (size, answer)
    smallest = {"ntp": 48, "lab": 500, "qotd": 60}.get(name, 40)
    assert {int(size) for size in answers} >= set(range(smallest, 1473))


def test_discard_answers_nobody(multid: Multid) -> None:
    assert not call(multid.process.pid, "sizes", PEER, (HOST, PORTS["discard"]), [0, 1, 512, 1472])


@pytest.mark.parametrize(
    ("source", "destination"),
    [(PEER, HOST), (PEER, OTHER), ("127.0.0.1", "127.0.0.1"), ("2001:db8::8", "2001:db8::7"), ("::1", "::1")],
)
def test_an_answer_comes_from_the_address_that_was_asked(multid: Multid, source: str, destination: str) -> None:
    """A connected socket takes it from no other."""
    lengths = [0, 1, 512, 1472, 2049, 8193, 65507 - 20 * (":" in source)]
    assert call(multid.process.pid, "octets_of_echo", source, (destination, 7), lengths) == lengths


def test_a_link_local_address_is_answered_from_on_its_own_interface(multid: Multid) -> None:
    for command in (
        "link add cable type veth peer name end",
        "link set cable up",
        "link set end up",
        "address add fe80::7/64 dev cable nodad",
    ):
        run(multid.process.pid, "ip", *command.split())
    assert call(multid.process.pid, "octets_of_echo", "::", ("fe80::7%cable", 7), [0, 1472]) == [0, 1472]


@pytest.fixture(scope="module")
def limited(tmp_path_factory) -> Iterator[Multid]:
    """An echo and a time service with the rate they have when nothing is said, and one that is held to another."""
    services = {
        "echo": {"listen": "udp:7"},
        "time": {"listen": "udp:37"},
        "quick": {"type": "time", "listen": "udp:1037", "limits": {"rate": "250/s"}},
    }
    with Multid(tmp_path_factory.mktemp("limited"), {"services": services}, prefix=apart((HOST, PEER))) as multid:
        multid.wait_for("quick: time up")
        yield multid
        multid.stop()


PADDED = "padded to be large enough"


def test_who_keeps_to_the_rate_gets_a_thousand_answers_to_a_thousand_requests(limited: Multid) -> None:
    assert call(limited.process.pid, "answers", PEER, (HOST, 1037), 1000, 1 / 250, PADDED) == 1000


@pytest.mark.campaign
def test_who_keeps_to_the_rate_of_the_default_gets_them_too(limited: Multid) -> None:
    assert call(limited.process.pid, "answers", PEER, (HOST, 37), 1000, 1 / 20, PADDED, within=90) == 1000


def test_a_burst_of_thirty_is_answered(limited: Multid) -> None:
    assert call(limited.process.pid, "answers", PEER, (HOST, 7), 30, 0.0, "thirty") == 30


@pytest.mark.campaign
def test_a_forger_cannot_silence_its_victim(limited: Multid) -> None:
    """Ten times the limit arrives in the victim's name for 20 s; it still gets a quarter of its own answers."""
    asked, got = call(limited.process.pid, "victim", PEER, (HOST, 7), 20, 200, 40)
    assert asked >= 790
    assert got >= asked / 4
