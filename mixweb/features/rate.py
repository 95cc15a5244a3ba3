"""
How many requests an address may send.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.kit.addresses import client_address, network
from mixweb.kit.rates import Rate as RateLimit
from mixweb.kit.rates import RateWrapper, WhenDown, parse_rates
from mixweb.stores import IStore, StoreURL, check_url


@dataclass(frozen=True)
class Rate(WrapperSettings):
    """Answer 429 to an address that sends too many requests."""

    rates: Sequence[str] = option(
        ("100/minute",), principal=True, help="How many: 20/second, 1000/hour; each of several holds.", metavar="RATE"
    )
    exempt: Sequence[str] = option((), help="Addresses and networks that may send any number.", metavar="NETWORK")
    store: StoreURL = option("", help="Where they are counted; empty for the server's store.", metavar="URL")
    when_down: WhenDown = option("open", help="When the store is down: open lets all through, closed answers 503.")

    def __post_init__(self) -> None:
        try:
            if not parse_rates(self.rates):
                raise ValueError("name at least one, as 100/minute")
        except ValueError as reason:
            raise ValueError(f"rates: {reason}") from None
        for text in self.exempt:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ValueError(f"exempt: {text!r} is neither an address nor a network") from None
        if self.store:
            check_url(self.store)


class AddressWrapper(RateWrapper):
    """Counts the requests of each address."""

    def __init__(self, settings: Rate, store: IStore, inner: IResource) -> None:
        super().__init__(inner, store, "rate", settings.when_down)
        self.rates = parse_rates(settings.rates)
        self.exempt = [ip_network(text, strict=False) for text in settings.exempt]
        self.key = lru_cache(maxsize=4096)(self._key)

    def _key(self, address: str) -> str:
        """What an address is counted as; empty when it is not."""
        found = network(address)
        try:
            known = ip_address(address)
        except ValueError:
            return found
        known = getattr(known, "ipv4_mapped", None) or known
        return "" if any(known in item for item in self.exempt) else found

    def counted(self, request: Request) -> tuple[str, Sequence[RateLimit]] | None:
        key = self.key(client_address(request))
        return (key, self.rates) if key else None


def build(settings: Rate, inner: IResource, context: Context) -> IResource:
    return AddressWrapper(settings, context.store(settings.store), inner)


FEATURE = Wrap("rate", Stage.ADMISSION, Rate, build)
