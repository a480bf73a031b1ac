"""Which addresses the gateway may fetch from on behalf of a caller: those of the public internet, and no others.

Callers choose URLs, so everything that only this machine or its network can reach is refused: loopback, private and
shared networks, link-local addresses and with them the metadata services of clouds. IANA's registries of
special-purpose addresses (2026-10) are written out here, as `ipaddress.is_global` of older Pythons lacks some of them.
"""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_SPECIAL_V4: Final = tuple(
    (IPv4Network(network), name)
    for network, name in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared (carrier-grade NAT)",
        "127.0.0.0/8": "loopback",
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved for protocols",
        "192.0.2.0/24": "for documentation",
        "192.31.196.0/24": "reserved (AS112)",
        "192.52.193.0/24": "reserved (AMT)",
        "192.88.99.0/24": "reserved (6to4 relays)",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "reserved (AS112)",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
)
_GLOBAL_UNICAST_V6: Final = IPv6Network("2000::/3")
# Within it. 2001::/23 has Teredo, ORCHID and benchmarks; 2002::/16 is 6to4, which embeds IPv4 addresses.
_SPECIAL_V6: Final = tuple(
    (IPv6Network(network), name)
    for network, name in {
        "2001::/23": "reserved for protocols",
        "2001:db8::/32": "for documentation",
        "2002::/16": "6to4",
        "2620:4f:8000::/48": "reserved (AS112)",
        "3fff::/20": "for documentation",
    }.items()
)
# Some of these look public, or lie in networks that an operator may allow. Sources: the clouds' own pages on instance
# metadata (AWS, Azure, Google Cloud, Oracle, Alibaba), 2026-11.
_METADATA: Final = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)


def why_refused(address: str, allowed: Iterable[Network] = ()) -> str | None:
    """Return why nothing is fetched from an address, None if it may be. `allowed` are networks that may in any case."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if found in _METADATA:
        return "a cloud's metadata service"
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return "link-local"
    if any(found in network for network in allowed):
        return None
    return _special_v4(found) if isinstance(found, IPv4Address) else _special_v6(found)


def _special_v4(address: IPv4Address) -> str | None:
    return next((name for network, name in _SPECIAL_V4 if address in network), None)


def _special_v6(address: IPv6Address) -> str | None:
    """Everything outside global unicast goes: mapped and translated IPv4 (NAT64), loopback, local, multicast."""
    if address not in _GLOBAL_UNICAST_V6:
        return "not a public IPv6 address"
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE:  # of an ISATAP interface (RFC 5214, 6.1)
        return "an embedded IPv4 address"
    return next((name for network, name in _SPECIAL_V6 if address in network), None)
