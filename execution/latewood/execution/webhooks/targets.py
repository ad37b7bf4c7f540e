"""Which addresses may be called: those that everybody reaches, over https, and private ones that were named."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

import httpx

from latewood.execution.faults import Fault, FaultClass
from latewood.graph_schema.errors import InvalidError

__all__ = ["URL_CHARS_MAX", "Place", "Targets"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
URL_CHARS_MAX: Final = 2_000
_NETWORKS_MAX: Final = 50
_TRANSLATED: Final = ip_network("64:ff9b::/96")
_SETTING: Final = "LATEWOOD_WEBHOOK_NETWORKS"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call goes: the URL with the address that was judged in place of the name, which could change between."""

    url: httpx.URL
    host: str
    name: str


@dataclass(frozen=True, slots=True)
class Targets:
    """Judges where calls may go. *networks* are private ones that may be reached, over plain http too."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, networks: Sequence[str]) -> Targets:
        """Read networks as settings name them: ``127.0.0.0/8``. Raises InvalidError (``setting.invalid``)."""
        if len(networks) > _NETWORKS_MAX:
            raise InvalidError(f"{_SETTING} names more than {_NETWORKS_MAX} networks", code="setting.invalid")
        try:
            return cls(tuple(ip_network(one.strip()) for one in networks))
        except ValueError as error:
            msg = f"{_SETTING} is to list networks, as 127.0.0.0/8,10.2.0.0/16: {str(error)[:80]}"
            raise InvalidError(msg, code="setting.invalid") from error

    def check(self, url: str) -> str:
        """Return *url* when it may be a webhook's, as far as can be told without looking its name up.

        Raises InvalidError (``webhook.target``).
        """
        read = self._read(url)
        literal = _literal(read.host)
        if literal is not None and not self._allowed(literal, read.scheme):
            raise _refused(url, f"{literal} is not to be reached {_hint(read.scheme)}")
        return url

    def _read(self, url: str) -> httpx.URL:
        if len(url) > URL_CHARS_MAX:
            raise _refused(url, f"it has more than {URL_CHARS_MAX:,} characters")
        try:
            read = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise _refused(url, "it is no URL") from error
        if read.scheme != "https" and not (read.scheme == "http" and self.networks):
            raise _refused(url, f"it is to begin with https:// (http:// only into networks of {_SETTING})")
        if not read.host or read.userinfo or read.fragment:
            raise _refused(url, "it is to have a host, and neither a user nor a fragment")
        return read

    async def place(self, url: str) -> Place:
        """Look the name of *url* up and return where to call: an address that was judged.

        Raises:
            InvalidError: one of its addresses may not be reached (``webhook.target``); none is called then.
            Fault: the name is not known now.
        """
        read = self._read(url)
        port = read.port or (443 if read.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        try:
            listed = await loop.getaddrinfo(read.host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Fault(FaultClass.TRANSIENT, f"the name {read.host[:80]!r} was not found: {error}") from error
        found = [ip_address(str(one[4][0]).partition("%")[0]) for one in listed]
        for address in found:
            if not self._allowed(address, read.scheme):
                raise _refused(url, f"its name means {address}, not to be reached {_hint(read.scheme)}")
        if not found:
            raise Fault(FaultClass.TRANSIENT, f"the name {read.host[:80]!r} has no address")
        return Place(read.copy_with(host=str(found[0])), read.netloc.decode("ascii"), read.raw_host.decode("ascii"))

    def _allowed(self, address: Address, scheme: str) -> bool:
        meant = _meant(address)
        if any(one.version == meant.version and meant in one for one in self.networks):
            return True
        return scheme == "https" and meant.is_global and not meant.is_multicast


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to, where it is one of those that do."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else address


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _hint(scheme: str) -> str:
    return f"{'over plain http ' if scheme == 'http' else ''}unless {_SETTING} names its network"


def _refused(url: str, why: str) -> InvalidError:
    return InvalidError(f"{url[:120]!r} cannot be a webhook's address: {why}", code="webhook.target")
