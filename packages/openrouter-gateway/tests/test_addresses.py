"""Which addresses are the public internet's."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.wire.addresses import why_refused

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
LINKS = (ipaddress.ip_network("fe80::/10"),)
INTRANET = (
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fd00::/8"),
)

REFUSED = [
    # this network, private, shared
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.127.255.255",
    # loopback, link-local, metadata services
    "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200",
    "168.63.129.16", "192.0.0.192",
    # reserved, documentation, benchmarks, multicast, broadcast
    "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.31.196.1", "192.52.193.1", "192.175.48.1",
    # IPv6: unspecified, loopback, local, multicast
    "::", "::1", "fc00::1", "fd12:3456::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1",
    # IPv4 within IPv6: mapped, translated, compatible, NAT64, 6to4, Teredo, ISATAP
    "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378::1",
    "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:808:808",
    # IPv6: discard, documentation, benchmarks, ORCHID, AS112, segment routing
    "100::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "2620:4f:8000::1", "5f00::1",
    "4000::1",
    # none at all
    "", "localhost", "8.8.8", "08.8.8.8", "1.2.3.4.5", "0x7f.0.0.1", "2130706433", "[::1]", "8.8.8.8/32",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1",
          "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001:800::200e", "2001:4860:4860::8888",
          "2003::1"]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    """Whatever only this machine or its network can reach, in any spelling."""
    assert None is not why_refused(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """Neighbours of those among them."""
    assert None is why_refused(address)


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("127.0.0.1", LOOPBACK, True),
        ("::1", LOOPBACK, True),
        ("10.1.2.3", LOOPBACK, False),
        ("::ffff:127.0.0.1", LOOPBACK, False),
        ("fe80::1", LINKS, True),
        ("fe80::1%eth0", LINKS, False),
        ("10.1.2.3", INTRANET, True),
        ("fd00::1", INTRANET, True),
        ("169.254.1.1", INTRANET, True),
        ("169.254.169.254", INTRANET, False),
        ("fd00:ec2::254", INTRANET, False),
        ("8.8.8.8", INTRANET, True),
    ],
)  # fmt: skip
def test_allowed(address: str, networks: tuple[ipaddress.IPv4Network, ...], *, expected: bool) -> None:
    """An operator's networks besides; of metadata services, none."""
    assert expected == (why_refused(address, networks) is None)


@given(st.ip_addresses())
def test_any_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """What the standard library knows to be special is refused."""
    if why_refused(str(address)) is None:
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_unspecified, address.is_link_local))
