"""
How many requests a user may send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.fields import TOKEN
from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.interfaces import IUser
from mixweb.kit.addresses import client_address, network
from mixweb.kit.rates import Rate, RateWrapper, WhenDown, parse_rates
from mixweb.stores import IStore, StoreURL, check_url


@dataclass(frozen=True)
class Quota(WrapperSettings):
    """Answer 429 to a user who sends too many requests."""

    rates: Sequence[str] = option(
        ("1000/hour",), principal=True, help="How many: 20/second, 1000/hour; each of several holds.", metavar="RATE"
    )
    roles: Mapping[str, str] = option(
        {}, help="Other rates, with commas, for users of a role; the first role counts.", metavar="ROLE=RATE"
    )
    key: str = option("", help="Field whose value is counted for a request without a user: X-API-Key.", metavar="FIELD")
    store: StoreURL = option("", help="Where they are counted; empty for the server's store.", metavar="URL")
    when_down: WhenDown = option("open", help="When the store is down: open lets all through, closed answers 503.")

    def __post_init__(self) -> None:
        for name, rates in [
            ("rates", self.rates),
            *((f"roles: {role}", text.split(",")) for role, text in self.roles.items()),
        ]:
            try:
                if not parse_rates(rates):
                    raise ValueError("name at least one, as 1000/hour")
            except ValueError as reason:
                raise ValueError(f"{name}: {reason}") from None
        if self.key and not TOKEN.match(self.key.encode()):
            raise ValueError(f"key: {self.key!r} is not the name of a field")
        if self.store:
            check_url(self.store)


class QuotaWrapper(RateWrapper):
    """Counts the requests of each user, of each key, and of each address that has neither."""

    def __init__(self, settings: Quota, store: IStore, inner: IResource) -> None:
        super().__init__(inner, store, "quota", settings.when_down)
        self.rates = parse_rates(settings.rates)
        self.roles = {role.removeprefix("#"): parse_rates(text.split(",")) for role, text in settings.roles.items()}
        self.key = settings.key.encode()

    def counted(self, request: Request) -> tuple[str, Sequence[Rate]]:
        user = IUser(request, None)
        if user is not None:
            rates = next((rates for role, rates in self.roles.items() if role in user.roles), self.rates)
            return f"user\0{user.name}", rates
        key = request.getHeader(self.key) if self.key else None
        if key:
            return f"key\0{key.decode('latin-1')}", self.rates
        return f"address\0{network(client_address(request))}", self.rates


def build(settings: Quota, inner: IResource, context: Context) -> IResource:
    return QuotaWrapper(settings, context.store(settings.store), inner)


FEATURE = Wrap("quota", Stage.QUOTA, Quota, build)
