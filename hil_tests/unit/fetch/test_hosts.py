"""From where images may be fetched: whatever an address is dressed up as, and whatever a name server says."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from bridge.errors import BridgeError, ImageRefusedError, UsageError
from bridge.fetch import THIS_HOST, HostPattern, HostRules
from bridge.fetch.addresses import Address, Reach, reach_of, unwrapped
from bridge.fetch.host_names import ascii_host, split_url
from bridge.fetch.hosts import parse_network
from hil_tests.unit.fetch.conftest import CONTENT, Fetch, everything
from hil_tests.unit.fetch.origin import Origin, Script, status

STRICT = HostRules()
NOT_PUBLIC = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "192.0.0.0/24", "198.18.0.0/15"),
)
NOT_PUBLIC_6 = ("::1/128", "::/128", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", "2001::/32")


def verdict(rules: HostRules, url: str) -> str:
    try:
        rules.check_url(url)
    except ImageRefusedError as error:
        return error.reason
    return "allowed"


def test_a_refusal_is_one_of_the_image() -> None:
    with pytest.raises(ImageRefusedError) as caught:
        STRICT.check_url("http://10.0.0.1/x")
    assert (caught.value.exit_code, caught.value.reason) == (5, "address-refused")
    assert "--allow-network private" in (caught.value.hint or "")


def inside(networks: Sequence[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(networks).flatmap(lambda text: st.ip_addresses(network=ipaddress.ip_network(text)))


DRESSES: tuple[Callable[[ipaddress.IPv4Address], str], ...] = (
    str,
    lambda a: f"{a}.",
    lambda a: str(int(a)),
    lambda a: hex(int(a)),
    lambda a: f"0{int(a):o}",
    lambda a: ".".join(f"0{part:o}" for part in a.packed),
    lambda a: ".".join(f"0x{part:x}" for part in a.packed),
    lambda a: f"{a.packed[0]}.{int(a) & 0xFFFFFF}",
    lambda a: f"{a.packed[0]}.{a.packed[1]}.{int(a) & 0xFFFF}",
    lambda a: ".".join(f"{part:03d}" for part in a.packed),
    lambda a: str(a).translate({ord("0") + n: 0xFF10 + n for n in range(10)}),  # full-width digits
    lambda a: str(a).replace(".", "\u3002"),  # ideographic full stop
    lambda a: f"[::ffff:{a}]",
    lambda a: f"[::ffff:{a.packed.hex()[:4]}:{a.packed.hex()[4:]}]",
    lambda a: f"[0:0:0:0:0:FFFF:{a}]",
    lambda a: f"[::{a}]",
    lambda a: f"[64:ff9b::{a}]",
    lambda a: f"[2002:{a.packed.hex()[:4]}:{a.packed.hex()[4:]}::1]",
    lambda a: f"user:password@{a}",
    lambda a: f"images.example.com:443@{a}",
    lambda a: f"{a}:8443",
)


@given(inside(NOT_PUBLIC), st.sampled_from(DRESSES), st.sampled_from(["https", "http", "HTTPS"]))
def test_no_dress_hides_an_address_that_is_not_public(
    address: ipaddress.IPv4Address, dress: Callable[[ipaddress.IPv4Address], str], scheme: str
) -> None:
    assert verdict(STRICT, f"{scheme}://{dress(address)}/app.bin") in {"address-refused", "bad-url"}


@given(inside(NOT_PUBLIC_6), st.booleans())
def test_no_ipv6_address_that_is_not_public(address: ipaddress.IPv6Address, long: bool) -> None:
    text = address.exploded if long else address.compressed
    assert verdict(STRICT, f"https://[{text}]/app.bin") == "address-refused"


@given(st.ip_addresses())
def test_the_table_allows_nothing_that_python_calls_special(address: Address) -> None:
    real = unwrapped(address)
    if reach_of(address) is Reach.PUBLIC:
        assert real.is_global
        special = ("loopback", "private", "link_local", "multicast", "unspecified", "reserved")
        assert [name for name in special if getattr(real, f"is_{name}")] == []


HOSTILE = st.text(
    st.sampled_from("ab.1270:@/\\?#[]%25 \t\n*-_xX\u3002\uff11\u2488\xdf\u0130\u200d;,&='\"<>"), max_size=24
)


@given(HOSTILE, st.sampled_from(["https://", "http://", "https:", "//", ""]))
def test_what_is_allowed_is_what_is_connected_to(text: str, prefix: str) -> None:
    """No URL may mean one host to the check and another one to requests and urllib3."""
    url = f"{prefix}{text}"
    try:
        _, checked = split_url(url)
        checked = ascii_host(checked)
    except ImageRefusedError:
        return
    try:
        prepared = requests.Request("GET", url).prepare()
    except (requests.RequestException, UnicodeError, ValueError):
        return
    connected = parse_url(str(prepared.url)).host
    assert connected is not None
    assert ascii_host(connected) == checked


@given(HOSTILE)
def test_a_pattern_lets_only_its_own_hosts_through(text: str) -> None:
    rules = HostRules(hosts=(HostPattern("*.example.com"),))
    if verdict(rules, f"https://{text}") == "allowed":
        assert str(parse_url(requests.Request("GET", f"https://{text}").prepare().url or "").host).endswith(
            ".example.com"
        )


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("images.example.com", "images.example.com", True),
        ("images.example.com", "IMAGES.example.com.", True),
        ("images.example.com", "a.images.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "a.example.com.evil.com", False),
        ("bucket.s3.*.amazonaws.com", "bucket.s3.eu-central-1.amazonaws.com", True),
        ("bucket.s3.*.amazonaws.com", "bucket.s3.a.b.amazonaws.com", False),
        ("bucket.s3.*.amazonaws.com", "other.s3.eu-central-1.amazonaws.com", False),
        ("b\xfccher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "b\xfccher.example", True),
        ("*.example.com", "8.8.8.8", False),
        ("8.8.8.8", "8.8.8.8", True),
        ("*.8.8.8", "8.8.8.8", None),
        ("[2606:4700::1]", "2606:4700:0::1", True),
    ],
)
def test_patterns(pattern: str, host: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(UsageError):
            HostPattern(pattern)
        return
    assert HostPattern(pattern).matches(ascii_host(host)) is matches


@pytest.mark.parametrize(
    "text", ["", "*", "*.*", "a*.example.com", "https://a.example.com", "a:443", "a b", "a/b", "-"]
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        HostPattern(text)
    assert caught.value.reason == "bad-host-pattern"


@pytest.mark.parametrize(
    ("rules", "url", "expected"),
    [
        (STRICT, "https://images.example.com/a", "allowed"),
        (STRICT, "https://8.8.8.8/a", "allowed"),
        (STRICT, "https://[2606:4700::1111]/a", "allowed"),
        (STRICT, "http://images.example.com/a", "scheme-refused"),
        (HostRules(http=True), "http://images.example.com/a", "allowed"),
        (STRICT, "ftp://images.example.com/a", "bad-url"),
        (STRICT, "https://localhost/a", "address-refused"),
        (STRICT, "https://a.localhost/a", "address-refused"),
        (THIS_HOST, "http://localhost:1/a", "allowed"),
        (THIS_HOST, "http://127.9.9.9/a", "allowed"),
        (THIS_HOST, "https://[::1]/a", "allowed"),
        (THIS_HOST, "http://images.example.com/a", "scheme-refused"),
        (THIS_HOST, "https://10.0.0.1/a", "address-refused"),
        (HostRules(networks=parse_network("private")), "https://10.0.0.1/a", "allowed"),
        (HostRules(networks=parse_network("private")), "http://10.0.0.1/a", "scheme-refused"),
        (HostRules(networks=parse_network("private")), "https://[::ffff:10.0.0.1]/a", "allowed"),
        (HostRules(networks=parse_network("192.168.7.0/24")), "https://192.168.7.9/a", "allowed"),
        (HostRules(networks=parse_network("192.168.7.0/24")), "https://192.168.8.9/a", "address-refused"),
        (HostRules(networks=parse_network("192.168.7.0/24")), "https://localhost/a", "address-refused"),
        (HostRules(networks=parse_network("link-local")), "https://[fe80::1%25eth0]/a", "allowed"),
        (STRICT, "https://[fe80::1%25eth0]/a", "address-refused"),
        (STRICT, "https://images.example.com\\@127.0.0.1/a", "bad-url"),
        (HostRules((HostPattern("good.com"),)), "https://good.com@evil.com/a", "host-refused"),
        (HostRules((HostPattern("good.com"),)), "https://good.com%2eevil.com/a", "bad-url"),
        (HostRules((HostPattern("good.com"),)), "https://good.com#@evil.com/a", "allowed"),
        (HostRules((HostPattern("10.1.1.1"),)), "https://10.1.1.1/a", "address-refused"),
    ],
)
def test_rules(rules: HostRules, url: str, expected: str) -> None:
    assert verdict(rules, url) == expected


@pytest.mark.parametrize("text", ["", "everything", "10.0.0.1/8", "300.1.1.1", "private/8"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_network(text)
    assert caught.value.reason == "bad-network"


@pytest.mark.parametrize(
    "url", ["https://u:PLANTED0SECRET@10.0.0.1/a?s=PLANTED0SECRET", "https://x\\y?PLANTED0SECRET"]
)
def test_a_refusal_repeats_no_secret(url: str) -> None:
    with pytest.raises(ImageRefusedError) as caught:
        STRICT.check_url(url)
    assert "PLANTED0SECRET" not in repr(vars(caught.value)) + str(caught.value)


# What the name server says.


class Names:
    """A name server: each answer is a list of addresses; the last one is repeated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in self._answers:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(name)
        answers = self._answers[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in addresses for entry in self._real(address, port, *args, **kwargs)]


def refusal(download: Any) -> str:
    with pytest.raises(BridgeError) as caught:
        download.wait_complete()
    return caught.value.reason


def port_of(origin: Origin) -> str:
    return origin.host.rpartition(":")[2]


def to(location: str) -> Script:
    return status(302, Location=location)


def test_a_name_that_leads_to_this_host_is_refused_unless_that_is_allowed(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, images_example=[["127.0.0.1"]])
    url = f"http://images.example:{port_of(origin)}/app.bin"
    assert refusal(fetch(url, rules=HostRules(http=True))) == "address-refused"
    assert origin.connections == 0
    assert everything(fetch(url, rules=HostRules(http=True, networks=THIS_HOST.networks))) == CONTENT


def test_a_name_that_changes_its_mind_is_asked_once_for_each_connection(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    names = Names(monkeypatch, images_example=[["127.0.0.1"], ["192.0.2.1"]])
    rules = HostRules(http=True, networks=THIS_HOST.networks)
    assert everything(fetch(f"http://images.example:{port_of(origin)}/app.bin", rules=rules)) == CONTENT
    assert (len(names.asked), origin.connections) == (1, 1)


def test_of_several_addresses_only_allowed_ones_are_connected_to(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, images_example=[["10.255.255.1", "::1", "127.0.0.1"]])
    rules = HostRules(http=True, networks=parse_network("127.0.0.0/8"))
    assert everything(fetch(f"http://images.example:{port_of(origin)}/app.bin", rules=rules)) == CONTENT


def test_plain_http_goes_to_loopback_addresses_only_whatever_the_name(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, localhost=[["10.0.0.1"]])
    rules = HostRules(networks=(*THIS_HOST.networks, *parse_network("private")))
    assert refusal(fetch(f"http://localhost:{port_of(origin)}/app.bin", rules=rules)) == "scheme-refused"


def test_a_name_that_does_not_exist_is_unreachable(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert refusal(fetch("https://images.example/app.bin")) == "unreachable"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://10.0.0.1/latest", "address-refused"),
        ("http://169.254.169.254/latest/meta-data", "address-refused"),
        ("http://[::ffff:169.254.169.254]/", "address-refused"),
        ("http://2852039166/", "bad-url"),
        ("http://0xa9.0xfe.0xa9.0xfe/", "bad-url"),
        ("//evil.example/x", "scheme-refused"),
        ("https://inner.example/x", "address-refused"),
        ("http://127.0.0.1:1\\@evil.example/", "unreachable"),
    ],
)
def test_each_redirect_is_checked_before_it_is_followed(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, location: str, reason: str
) -> None:
    names = Names(monkeypatch, inner_example=[["10.0.0.9"]], evil_example=[["127.0.0.1"]])
    connected: list[str] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        connected.append(address[0])
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    origin.always = to(location)
    with contextlib.suppress(IndexError):
        assert refusal(fetch()) == reason
    assert set(connected) == {"127.0.0.1"}
    assert "evil.example" not in names.asked


def test_an_image_in_the_cache_does_not_make_its_place_allowed(origin: Origin, fetch: Fetch) -> None:
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256(CONTENT).hexdigest()
    assert everything(fetch(expected_sha256=digest)) == CONTENT
    assert refusal(fetch(expected_sha256=digest, rules=STRICT)) == "address-refused"


def test_a_proxy_connects_but_the_rules_hold(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", origin.url(""))
    monkeypatch.setenv("no_proxy", "")
    rules = HostRules(hosts=(HostPattern("images.invalid"),), http=True)
    assert everything(fetch("http://images.invalid/app.bin", rules=rules)) == CONTENT
    origin.requests.clear()
    assert refusal(fetch("http://other.invalid/app.bin", rules=rules)) == "host-refused"
    assert refusal(fetch("http://localhost/app.bin", rules=HostRules(http=True))) == "address-refused"
    assert origin.requests == []
