"""Reloads against a model: what runs afterwards is exactly what the file says, or exactly what ran before."""

import os
import socket
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.loop import Loop
from tests.operated import operating

PORTS = 3
TAKEN = PORTS
"""The port that another program has."""

stanzas = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["echo", "discard", "time"]),
        "ports": st.lists(st.integers(0, TAKEN), min_size=1, max_size=2, unique=True),
        "connections": st.integers(1, 2),
        "enabled": st.sampled_from([True, True, True, False]),
        "is_wrong": st.sampled_from([False] * 12 + [True]),
    }
)
files = st.dictionaries(st.sampled_from(["a", "b", "c"]), stanzas, max_size=3)


@pytest.fixture(scope="module")
def ports():
    """Free ports, and at last one that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = [socket.create_server(("127.0.0.1", 0)) for _ in range(PORTS)]
        numbers = [sock.getsockname()[1] for sock in free]
        for sock in free:
            sock.close()
        yield [*numbers, taken.getsockname()[1]]


def stanza(port_numbers, spec) -> dict:
    written = {
        "type": spec["type"],
        "listen": [f"tcp:{port_numbers[index]}:interface=127.0.0.1" for index in spec["ports"]],
        "limits": {"connections": spec["connections"]},
        "enabled": spec["enabled"],
    }
    return {**written, "lisen": "x"} if spec["is_wrong"] else written


def is_possible(file) -> bool:
    """What the model says of a file: no mistake, no address twice, none that another program has."""
    used = [index for spec in file.values() if spec["enabled"] for index in spec["ports"]]
    return not any(spec["is_wrong"] for spec in file.values()) and len(used) == len(set(used)) and TAKEN not in used


def wanted(file) -> dict:
    return {
        name: (spec["type"], sorted(spec["ports"]), spec["connections"])
        for name, spec in file.items()
        if spec["enabled"]
    }


def running(operated, numbers) -> dict:
    """What really runs: by the daemon's own account, which must agree with what clients find."""
    found = {}
    served = {}
    for name, service in operated.daemon.namedServices.items():
        bound = [binding.listener.socket.getsockname()[1] for binding in service.bindings.values()]
        found[name] = (service.config.type, sorted(map(numbers.index, bound)), service.config.limits.connections)
        served |= dict.fromkeys(bound, service.config.type)
    for number in numbers[:PORTS]:
        assert served.get(number) == kind_of(operated, number)
    held = [sock for sock in operated.daemon.runtime.sockets._held.values() if sock.family == socket.AF_INET]
    assert len(held) == len(served) + 1, "one is the page's"
    return found


def kind_of(operated, number):
    """What a client finds at a port."""
    with socket.socket() as client:
        try:
            client.connect(("127.0.0.1", number))
        except ConnectionRefusedError:
            return None
        client.send(b"who?")
        client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        said = operated.read_all(client)
    return "echo" if said == b"who?" else "time" if len(said) == 4 else "discard"


A = {"type": "echo", "ports": [0], "connections": 1, "enabled": True, "is_wrong": False}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(files, min_size=1, max_size=4))
@example([{"a": A}, {"b": A}, {"a": A | {"type": "time"}}])
@example([{"a": A | {"ports": [0, 1]}}, {"a": A | {"ports": [1]}, "b": A}, {"a": A, "b": A | {"ports": [1]}}])
@example([{"a": A}, {"a": A | {"ports": [0, 3]}}, {"a": A | {"ports": [1]}, "b": A | {"ports": [3]}}])
def test_all_of_a_file_or_nothing_of_it(ports, tmp_path, history) -> None:
    loop = Loop()
    try:
        with operating(loop, tmp_path, {}) as operated:
            descriptors = len(os.listdir("/proc/self/fd"))
            expected: dict = {}
            for file in history:
                services = {name: stanza(ports, spec) for name, spec in file.items()}
                objects = dict(operated.daemon.namedServices)
                operated.configure({"services": services})
                reloaded = operated.reload()
                assert reloaded.is_refused is not is_possible(file)
                if not reloaded.is_refused:
                    stayed = [name for name in wanted(file) if expected.get(name, ("",))[0] == file[name]["type"]]
                    assert all(objects[name] is operated.daemon.namedServices[name] for name in stayed)
                    expected = wanted(file)
                assert running(operated, ports) == expected
            operated.configure({})
            operated.reload()
            loop.until(lambda: not operated.daemon.draining)
            assert running(operated, ports) == {}
            assert len(os.listdir("/proc/self/fd")) <= descriptors
    finally:
        loop.close()


def test_a_connection_goes_on_through_changes_and_an_address_moves_with_those_who_wait_there(ports, tmp_path) -> None:
    loop = Loop()
    try:
        with operating(loop, tmp_path, {"services": {"a": stanza(ports, A)}}) as operated:
            client = socket.create_connection(("127.0.0.1", ports[0]))
            client.setblocking(False)
            client.send(b"1")
            assert operated.read_until(client, b"1") == b"1"
            inode = os.fstat(next(iter(operated.daemon.namedServices["a"].bindings.values())).listener.fileno()).st_ino
            operated.daemon.namedServices["a"].pause()
            waiting = socket.create_connection(("127.0.0.1", ports[0]))
            waiting.setblocking(False)
            operated.configure({"services": {"b": stanza(ports, A | {"type": "time"})}})
            assert not operated.reload().is_refused
            assert len(operated.read_all(waiting)) == 4
            moved = next(iter(operated.daemon.namedServices["b"].bindings.values())).listener
            assert os.fstat(moved.fileno()).st_ino == inode
            assert operated.read_all(client) == b"", "its service is no more, and it had nothing to finish"
            for one in (client, waiting):
                one.close()
    finally:
        loop.close()


def test_a_hundred_reloads_while_clients_come_and_go(ports, tmp_path) -> None:
    """Each changes something unrelated: nobody is dropped, nothing grows."""
    loop = Loop()
    try:
        with operating(loop, tmp_path, {"services": {"a": stanza(ports, A | {"connections": 1000})}}) as operated:
            lasting = socket.create_connection(("127.0.0.1", ports[0]))
            lasting.setblocking(False)
            sizes = []
            for number in range(100):
                other = A | {"ports": [1 + number % 2], "type": ["time", "discard"][number % 2]}
                services = {"a": stanza(ports, A | {"connections": 1000})}
                services["b"] = stanza(ports, other | {"enabled": number % 3 > 0})
                operated.configure({"services": services})
                asked = operated.daemon.reload()
                lasting.send(b"%d;" % number)
                assert operated.read_until(lasting, b";") == b"%d;" % number
                assert kind_of(operated, ports[0]) == "echo"
                assert not loop.result(asked).is_refused
                if number in (20, 98):
                    loop.until(lambda: not operated.daemon.draining)
                    sizes.append((len(os.listdir("/proc/self/fd")), len(loop.getDelayedCalls())))
            assert operated.daemon.reloads.generation == 101
            assert sizes[0] == sizes[1]
            lasting.close()
    finally:
        with suppress(OSError):
            loop.close()
