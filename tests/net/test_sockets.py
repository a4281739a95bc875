"""The store of listening sockets: one for each address, kept over reloads and restarts."""

import os
import socket
import stat
from pathlib import Path

import pytest

from multid.config.address import parse_listen
from multid.net.sockets import BindError, SocketStore

TCP = parse_listen("tcp:0:interface=127.0.0.1")


class Kept:
    """A service manager that keeps what it is given."""

    def __init__(self) -> None:
        self.sockets: dict[str, socket.socket] = {}

    def store(self, name: str, sock: socket.socket) -> None:
        self.sockets[name] = sock.dup()

    def remove(self, name: str) -> None:
        self.sockets.pop(name).close()

    def passed(self) -> dict[str, list[socket.socket]]:
        """What the next process gets."""
        return {name: [sock.dup()] for name, sock in self.sockets.items()}


@pytest.fixture
def kept():
    kept = Kept()
    yield kept
    for sock in kept.sockets.values():
        sock.close()


@pytest.fixture
def store(kept):
    """A function that makes a store whose sockets are closed after the test."""
    made = []

    def make(inherited=None, keeper=kept):
        made.append(SocketStore(inherited, keeper))
        return made[-1]

    yield make
    for one in made:
        one.keep(())
        for _, sock in one._inherited:
            sock.close()


def close(one: SocketStore) -> None:
    """End a process: its descriptors are closed, nobody is told."""
    for sock in [*one._held.values(), *(sock for _, sock in one._inherited)]:
        sock.close()
    one._held.clear()
    one._inherited.clear()


def listening(**keys) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), **keys)


def test_an_address_is_bound_once_and_never_blocks(store) -> None:
    sockets = store()
    first = sockets.bind(TCP, "echo")
    assert sockets.bind(TCP, "echo") is first
    assert first.getblocking() is False


def test_a_port_that_the_kernel_chooses_is_a_services_own(store) -> None:
    sockets = store()
    assert sockets.bind(TCP, "echo") is not sockets.bind(TCP, "time")


def test_a_fixed_address_moves_from_one_service_to_another_with_its_socket(store) -> None:
    with listening() as free:
        port = free.getsockname()[1]
    address = parse_listen(f"tcp:{port}:interface=127.0.0.1")
    sockets = store()
    sock = sockets.bind(address, "echo")
    assert sockets.bind(parse_listen(f"ssl:{port}:interface=127.0.0.1"), "time") is sock
    sockets.keep([(address, "time")])
    assert sock.fileno() >= 0
    sockets.keep(())
    assert sock.fileno() == -1


@pytest.mark.parametrize("text", ["tcp:0:interface=127.0.0.1", "udp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1"])
def test_a_new_process_goes_on_with_the_socket_of_the_old(store, kept, text) -> None:
    address = parse_listen(text)
    old = store()
    name = old.bind(address, "echo").getsockname()
    old.bind(TCP, "other")
    close(old)
    new = store(kept.passed())
    assert new.bind(address, "echo").getsockname() == name
    assert len(kept.sockets) == 2, "what is kept already is not sent again"
    assert new.release() == []
    assert len(kept.sockets) == 1, "what nobody wants is kept no longer"
    new.keep(())
    assert not kept.sockets


def test_a_unix_socket_survives_with_its_file_and_is_made_anew_without(store, kept, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    address = parse_listen(f"unix:{path}:mode=600")
    old = store()
    old.bind(address, "echo")
    close(old)
    new = store(kept.passed())
    new.bind(address, "echo")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        new.bind(address, "echo").accept()[0].close()
    close(new)
    path.unlink()
    third = store(kept.passed())
    third.bind(address, "echo")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    third.keep(())
    assert not path.exists()


def test_the_names_are_printable_and_short(store, kept, tmp_path) -> None:
    deep = tmp_path / "日本語" / ("日" * 3)
    deep.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(deep.parent)
    try:
        store().bind(parse_listen("unix:" + "日" * 3 + "/" + "本" * 30), "echo")
    finally:
        os.chdir(before)
    store().bind(parse_listen("tcp6:0:interface=\\:\\:1"), "日本")
    for name in kept.sockets:
        assert name.startswith("multid/")
        assert name.isascii()
        assert name.isprintable()
        assert not set(name) & {":", " "}
        assert len(name) <= 255


def test_a_socket_unit_is_found_by_what_it_is_bound_to_whatever_its_name(store, kept) -> None:
    with listening() as first, listening() as second:
        sockets = store({"web.socket": [first.dup(), second.dup()]})
        for unit in (second, first):
            port = unit.getsockname()[1]
            sock = sockets.bind(parse_listen(f"tcp:{port}:interface=127.0.0.1"), "echo")
            assert sock.getsockname() == unit.getsockname()
            assert sock.getblocking() is False
    assert not kept.sockets, "it is kept already"


def test_sockets_of_one_name_are_told_apart_by_type_and_family(store) -> None:
    with listening() as four, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
            datagram.bind(("127.0.0.1", 0))
            sockets = store({"echo": [datagram.dup(), six.dup(), four.dup()]})
        for text, family, kind in [
            ("systemd:domain=INET:name=echo", socket.AF_INET, socket.SOCK_STREAM),
            ("systemd:domain=INET6:name=echo", socket.AF_INET6, socket.SOCK_STREAM),
            ("systemd-udp:name=echo", socket.AF_INET, socket.SOCK_DGRAM),
        ]:
            sock = sockets.bind(parse_listen(text), "echo")
            assert (sock.family, sock.type) == (family, kind)


def test_a_socket_unit_that_is_given_up_can_be_taken_again_and_is_told_when_idle(store) -> None:
    address = parse_listen("systemd:name=echo")
    with listening() as unit:
        sockets = store({"echo": [unit.dup()]})
    sock = sockets.bind(address, "echo")
    assert sockets.release() == []
    sockets.keep(())
    assert sockets.release() == ["echo"]
    assert sockets.bind(address, "lab") is sock


def test_a_name_that_was_not_passed_is_a_plain_error(store) -> None:
    with pytest.raises(BindError, match="the service manager passed no socket named 'echo'"):
        store().bind(parse_listen("systemd:name=echo"), "echo")


def test_a_file_mode_and_a_backlog_change_in_place(store, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    sockets = store()
    sock = sockets.bind(parse_listen(f"unix:{path}:mode=600"), "echo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    changed = parse_listen(f"unix:{path}:mode=666:backlog=5")
    assert sockets.bind(changed, "echo") is sock
    sockets.retune(changed, "echo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    path.unlink()
    sockets.retune(changed, "echo")
    other = tmp_path / "other"
    other.touch(0o600)
    path.symlink_to(other)
    sockets.retune(changed, "echo")
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    sockets.retune(parse_listen("systemd:name=echo"), "echo")


def test_a_living_socket_file_is_left_to_its_owner_and_a_stale_one_replaced(store, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    address = parse_listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(BindError, match="in use"):
            store().bind(address, "echo")
    store().bind(address, "echo")


def test_a_file_that_somebody_else_has_put_there_or_taken_away_is_left_to_him(store, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    address = parse_listen(f"unix:{path}")
    for does in (path.touch, lambda: None):
        sockets = store(keeper=None)
        sockets.bind(address, "echo")
        path.unlink()
        does()
        sockets.keep(())
        assert path.exists() == (does == path.touch)
        path.unlink(missing_ok=True)


def test_the_file_of_a_socket_unit_is_the_units(store, tmp_path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as unit:
        unit.bind(str(path))
        unit.listen()
        sockets = store({"echo.socket": [unit.dup()]}, None)
        sockets.bind(parse_listen(f"unix:{path}"), "echo")
        sockets.keep(())
        assert path.exists()


def test_without_a_keeper_nothing_is_told(store) -> None:
    sockets = store(keeper=None)
    sockets.bind(TCP, "echo")
    assert sockets.release() == []


EVERYWHERE_AND_ONE = [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "::1"), ("::1", "::")]


def of_port(transport: str, host: str, port: int):
    """The address of a port of a host."""
    quoted = host.replace(":", "\\:")
    return parse_listen(f"{transport}{'6' if ':' in host else ''}:{port}:interface={quoted}")


def connected(address) -> socket.socket:
    """A client of an address, or of the loopback interface where the address is every one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return socket.create_connection((host, address.port), timeout=5)


@pytest.mark.parametrize(("before", "after"), EVERYWHERE_AND_ONE)
def test_a_port_goes_from_every_address_to_one_and_back(store, before, after):
    """The new socket is bound beside the old one and listens from the moment when the old one is given up."""
    one = store()
    port = one.bind(of_port("tcp", before, 0), "echo").getsockname()[1]
    one.keep(())
    old, new = of_port("tcp", before, port), of_port("tcp", after, port)
    one.bind(old, "echo")
    sock = one.bind(new, "echo")
    one.keep([(new, "echo")])
    with connected(new) as client:
        sock.setblocking(True)
        sock.settimeout(5)
        accepted, peer = sock.accept()
        accepted.close()
        assert peer[:2] == client.getsockname()[:2]


@pytest.mark.parametrize(("before", "after"), EVERYWHERE_AND_ONE)
def test_a_socket_beside_another_that_is_not_wanted_after_all_takes_no_connection(store, before, after):
    """A reload that comes to nothing leaves every client with the socket that stays; nobody else gets in beside it."""
    one = store()
    port = one.bind(of_port("tcp", before, 0), "echo").getsockname()[1]
    one.keep(())
    old, new = of_port("tcp", before, port), of_port("tcp", after, port)
    sock = one.bind(old, "echo")
    one.bind(new, "echo")
    with connected(old) as client:
        one.keep([(old, "echo")])
        sock.setblocking(True)
        sock.settimeout(5)
        accepted, peer = sock.accept()
        accepted.close()
        assert peer[:2] == client.getsockname()[:2]
    with pytest.raises(BindError):
        store().bind(new, "echo")


@pytest.mark.parametrize(("before", "after"), EVERYWHERE_AND_ONE)
def test_a_port_of_datagrams_goes_from_every_address_to_one_and_back(store, before, after):
    """What is sent after the change arrives at the new socket."""
    one = store()
    port = one.bind(of_port("udp", before, 0), "echo").getsockname()[1]
    one.keep(())
    old, new = of_port("udp", before, port), of_port("udp", after, port)
    one.bind(old, "echo")
    sock = one.bind(new, "echo")
    one.keep([(new, "echo")])
    with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", ("::1" if ":" in after else "127.0.0.1", port))
    sock.setblocking(True)
    sock.settimeout(5)
    assert sock.recv(9) == b"hello"


def test_a_kept_socket_of_every_address_is_not_in_the_way_of_one(store, kept):
    """The file may go from every address to one while the process is away."""
    first = store()
    port = first.bind(of_port("tcp", "0.0.0.0", 0), "echo").getsockname()[1]
    first.keep(())
    first.bind(of_port("tcp", "0.0.0.0", port), "echo")
    passed = kept.passed()
    close(first)
    second = store(passed)
    new = of_port("tcp", "127.0.0.1", port)
    sock = second.bind(new, "echo")
    assert second.release() == []
    with connected(new) as client:
        sock.setblocking(True)
        sock.settimeout(5)
        accepted, peer = sock.accept()
        accepted.close()
        assert peer[:2] == client.getsockname()[:2]


def test_who_listens_is_called_just_before_the_socket_is_closed_and_not_where_it_stays(store, tmp_path) -> None:
    sockets = store({"theirs": [listening()]})
    kept = parse_listen("systemd:name=theirs")
    sock = sockets.bind(TCP, "echo")
    sockets.bind(kept, "echo")
    calls: list[str] = []
    sockets.lend(TCP, "echo", lambda: calls.append(f"before {sock.fileno() >= 0}"))
    sockets.lend(kept, "echo", lambda: calls.append("theirs"))
    sockets.keep([(TCP, "echo"), (kept, "echo")])
    assert calls == []
    sockets.keep(())
    assert calls == ["before True"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind a low port and then become somebody else")
def test_what_may_return_after_it_was_given_up(store, tmp_path):
    """Not a port for which the right is gone."""
    addresses = [TCP, parse_listen("udp:997:interface=127.0.0.9"), parse_listen(f"unix:{tmp_path / 'sock'}")]
    sockets = store()
    for address in addresses:
        sockets.bind(address, "a")
    assert [sockets.may_return(address, "a") for address in addresses] == [True, True, True]
    os.seteuid(65534)
    try:
        assert [sockets.may_return(address, "a") for address in addresses] == [True, False, True]
    finally:
        os.seteuid(0)
