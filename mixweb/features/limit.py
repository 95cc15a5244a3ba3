"""
How much of a request is accepted, by path.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.wrapper import Wrapper


@dataclass(frozen=True)
class Limit(WrapperSettings):
    """Another limit for the bodies of requests."""

    max_body_bytes: int = option(
        1024 * 1024, principal=True, help="Longest request body, in bytes; 413.", metavar="BYTES"
    )

    def __post_init__(self) -> None:
        if self.max_body_bytes < 0:
            raise ValueError("max_body_bytes must not be negative")


class LimitWrapper(Wrapper):
    """Sets the limit before anybody asks for the body."""

    def __init__(self, settings: Limit, inner: IResource) -> None:
        super().__init__(inner)
        self.max_body_bytes = settings.max_body_bytes

    def handle(self, request: Request) -> None:
        request.max_body_bytes = self.max_body_bytes
        self.forward(request)


def build(settings: Limit, inner: IResource, context: Context) -> IResource:
    return LimitWrapper(settings, inner)


FEATURE = Wrap("limit", Stage.ADMISSION, Limit, build)
