"""
What was made already, as a resource.
"""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request


@implementer(IBodyReceiver)
class Given(Resource):
    """
    A resource that renders what is given.

    :param found: what it returns.
    """

    isLeaf = True

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    def render(self, request: Request) -> Any:
        return self.found
