"""The first route that matches is taken, and a next hop is what its URL says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.address import Pattern
from multid.mail.route import Hop, Route, find_route, parse_hop

ADDRESSES = st.builds(lambda user, host: f"{user}@{host}", st.sampled_from("abc"), st.sampled_from(["x.org", "y.net"]))
PATTERNS = st.none() | st.sampled_from(["*", "*@x.org", "a@*", "b@y.net", "*@*.org", "<>"]).map(Pattern)
ROUTES = st.lists(st.builds(Route, st.just("r"), sender=PATTERNS, recipient=PATTERNS), max_size=5).map(tuple)


@given(ROUTES, ADDRESSES | st.just(""), ADDRESSES)
def test_the_first_route_that_matches_is_taken(routes: tuple[Route, ...], sender: str, recipient: str) -> None:
    found = find_route(routes, sender, recipient)
    before = routes if found is None else routes[: next(n for n, route in enumerate(routes) if route is found)]
    assert not any(route.matches(sender, recipient) for route in before)
    assert found is None or found.matches(sender, recipient)


@given(ROUTES, ADDRESSES, ADDRESSES)
def test_case_makes_no_difference(routes: tuple[Route, ...], sender: str, recipient: str) -> None:
    assert find_route(routes, sender, recipient) == find_route(routes, sender.upper(), recipient.upper())


@given(st.sampled_from(["mx.example", "192.0.2.1", "2001:db8::1"]), st.integers(1, 65535), st.booleans())
def test_a_hop_is_read_as_it_is_written(host: str, port: int, is_tls: bool) -> None:
    hop = Hop(host, port, "implicit" if is_tls else "none")
    assert parse_hop(f"{'smtps' if is_tls else 'smtp'}://{hop}", "none") == hop


@given(st.text() | st.from_regex(r"smtps?://[a-z:@\[\]0-9/]*", fullmatch=True))
def test_any_text_is_a_hop_that_can_be_called_or_is_refused(text: str) -> None:
    try:
        hop = parse_hop(text, "opportunistic")
    except ValueError:
        return
    assert 1 <= hop.port <= 65535
    assert hop.host
    assert not set(hop.host) & set("/@ \n")


@pytest.mark.parametrize("url", ["smtp://a:0", "smtp://a:65536", "http://a", "smtp://a@b", "smtp://"])
def test_what_is_no_hop(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://HOST:PORT"):
        parse_hop(url, "none")
