"""
The answer of an upstream server as the client gets it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What names addresses of the upstream's own.
MAPPED = frozenset([b"location", b"content-location", b"refresh", b"set-cookie"])

_URL = re.compile(rb"(?:(?i:(https?)):)?//([^/?#]*)(.*)", re.DOTALL)
_REFRESH = re.compile(rb"([^=]*;\s*(?i:url)\s*=\s*[\"']?)([^\"']*)(.*)", re.DOTALL)


def origin_of(scheme: bytes, authority: bytes) -> tuple[bytes, bytes]:
    """A scheme, which may be empty, and an authority in one form: lower case, without the scheme's own port."""
    scheme = scheme.lower()
    return scheme, authority.lower().removesuffix({b"http": b":80", b"https": b":443"}.get(scheme, b":"))


@dataclass(frozen=True)
class Mapping:
    """
    Where the addresses of an upstream server are here.

    :ivar origins: what :func:`origin_of` makes of the addresses of the upstream and of this server.
    :ivar base: its path, without a slash at the end.
    :ivar at: the path here that stands for it, likewise, quoted.
    :ivar hosts: names without ports that a cookie of the upstream may be for.
    """

    origins: frozenset[tuple[bytes, bytes]]
    base: bytes
    at: bytes
    hosts: frozenset[bytes]

    def path(self, path: bytes) -> bytes | None:
        """The path here of one of the upstream's; ``None`` when it is not below its path."""
        if not path.startswith(self.base):
            return None
        rest = path[len(self.base) :]
        if rest and rest[:1] not in (b"/", b"?", b"#"):
            return None
        mapped = self.at + rest if rest or self.at else b"/"
        if mapped[:1] in (b"?", b"#"):
            mapped = b"/" + mapped
        # Two slashes at the beginning would name another host.
        return b"/." + mapped if mapped.startswith((b"//", b"/\\")) else mapped

    def url(self, url: bytes) -> bytes:
        """A URL in a field; one that does not lead to the upstream stays as it is."""
        found = _URL.fullmatch(url)
        if found is None:
            mapped = self.path(url) if url.startswith(b"/") else None
        elif origin_of(found[1] or b"", found[2]) in self.origins:
            rest = found[3]
            mapped = self.path(rest if rest.startswith(b"/") else b"/" + rest)
        else:
            mapped = None
        return url if mapped is None else mapped

    def cookie(self, cookie: bytes) -> bytes:
        """A cookie: below the path here, and for this host in the place of the upstream's."""
        pair, *attributes = cookie.split(b";")
        kept = [pair]
        for attribute in attributes:
            name, equals, value = attribute.partition(b"=")
            key = name.strip().lower()
            if key == b"domain" and value.strip().lower().removeprefix(b".") in self.hosts:
                continue
            if key == b"path" and equals:
                attribute = b"%b=%b" % (name, self._cookie_path(value.strip()))
            kept.append(attribute)
        return b";".join(kept)

    def _cookie_path(self, path: bytes) -> bytes:
        above = path if path.endswith(b"/") else path + b"/"
        if (self.base + b"/").startswith(above):
            return self.at or b"/"
        return self.path(path) or path

    def field(self, name: bytes, value: bytes) -> bytes:
        """
        The value of a field.

        :param name: one of :data:`MAPPED`.
        """
        if name == b"set-cookie":
            return self.cookie(value)
        if name != b"refresh":
            return self.url(value)
        found = _REFRESH.fullmatch(value)
        return value if found is None else found[1] + self.url(found[2].strip()) + found[3]
