"""
Who may look: the token, the cookie that takes its place, the host names that are answered to.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from fnmatch import translate
from hashlib import sha256
from ipaddress import ip_address

from mixweb.engine.authority import Authority

#: What a browser says of a request that comes from this page, or from nobody's page.
_OWN_SITE = frozenset([b"same-origin", b"none"])


class Gate:
    """
    Decides who may look.

    :param token: what opens it.
    :param hosts: names, as globs, that are answered to besides this machine's own and addresses.
    :param path: of the inspector, percent-encoded, without a slash at its end.
    """

    def __init__(self, token: str, hosts: Sequence[str], path: str) -> None:
        self._token = token.encode()
        self._hosts = [re.compile(translate(host.lower().rstrip("."))) for host in hosts]
        self._path = path or "/"
        # Cookies do not know ports: another server of this machine has another name for its own.
        self._name = b"mixweb-inspect-" + self._derived(b"name")[:12]
        self._value = self._derived(b"value")

    @property
    def key(self) -> str:
        """A name that those who have the same token have in common."""
        return self._derived(b"key")[:20].decode("ascii")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.new(self._token, purpose + self._path.encode(), sha256).hexdigest().encode()

    def is_host(self, authority: Authority | None) -> bool:
        """
        Whether a host name is answered to.

        A page of another site can have its own name lead to this machine, and would then be of one origin with it (DNS
        rebinding). An address cannot be had like that.
        """
        if authority is None:
            return True
        host = authority.host.decode("ascii", "replace").lower()
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            return any(pattern.match(host) for pattern in self._hosts)
        return True

    def is_token(self, given: bytes) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(given, self._token)

    def is_cookie(self, cookies: dict[bytes, bytes]) -> bool:
        """Whether the cookie is among these."""
        return hmac.compare_digest(cookies.get(self._name, b""), self._value)

    def cookie(self, secure: bool) -> bytes:
        """The value of ``Set-Cookie`` for somebody who has shown the token."""
        attributes = b"; Path=%b; HttpOnly; SameSite=Strict" % self._path.encode()
        return b"%b=%b%b%b" % (self._name, self._value, attributes, b"; Secure" if secure else b"")


def is_own_page(site: bytes | None, origin: bytes | None, host: bytes) -> bool:
    """
    Whether a request that a cookie speaks for was made by a page of this origin, or by nobody's page.

    Cookies do not know ports, and so ``SameSite`` does not: a page of another port is no stranger to it.

    :param site: the value of ``Sec-Fetch-Site``.
    :param origin: the value of ``Origin``.
    :param host: the value of ``Host``.
    """
    if site is not None and site not in _OWN_SITE:
        return False
    return origin is None or origin.partition(b"://")[2].lower() == host.lower()
