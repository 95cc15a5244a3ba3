"""
Where an argument comes from, when its annotation narrows it: ``page: Query[int]``.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

T = TypeVar("T")


class Source(Enum):
    """A part of a request."""

    QUERY = "query"
    FORM = "form"
    JSON = "JSON object"
    BODY = "JSON body"
    HEADER = "header"
    COOKIE = "cookie"


#: From the query only.
Query = Annotated[T, Source.QUERY]

#: From the form in the body only.
Form = Annotated[T, Source.FORM]

#: From the member of the JSON object in the body that has the parameter's name.
Json = Annotated[T, Source.JSON]

#: The whole JSON document in the body.
Body = Annotated[T, Source.BODY]

#: From the header field of the parameter's name, with hyphens for underscores.
Header = Annotated[T, Source.HEADER]

#: From the cookie of the parameter's name.
Cookie = Annotated[T, Source.COOKIE]
