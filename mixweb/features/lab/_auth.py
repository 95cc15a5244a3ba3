"""
Logins whose name and password are in the path.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from hashlib import new as new_hash
from hmac import compare_digest
from secrets import token_hex

from mixweb.engine.errors import HTTPError
from mixweb.features.lab._call import Call, Endpoint, header_text, whole
from mixweb.features.lab._inspect import body

_REALM = "lab"
_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512": "sha512"}
_PARAMETER = re.compile(r'(?P<name>[a-z]+)[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<token>[^\s,"]+))', re.I)


def _same(one: str, other: str) -> bool:
    return compare_digest(one.encode(), other.encode())


def credentials(call: Call, scheme: str) -> str:
    """What follows a scheme in ``Authorization``; empty for another scheme, or none."""
    found, _, rest = header_text(call.header(b"Authorization")).partition(" ")
    return rest.strip() if found.lower() == scheme else ""


def has_basic(call: Call, user: str, password: str) -> bool:
    """Whether a request has this name and password (RFC 7617)."""
    try:
        decoded = a2b_base64(credentials(call, "basic"), strict_mode=True)
    except ValueError:
        return False
    return _same(header_text(decoded), f"{user}:{password}")


def basic(call: Call, user: str, password: str) -> bytes:
    if not has_basic(call, user, password):
        challenge = f'Basic realm="{_REALM}", charset="UTF-8"'.encode()
        raise HTTPError(401, "This needs a name and password.", [(b"WWW-Authenticate", challenge)])
    return call.json({"authenticated": True, "user": user})


def hidden_basic(call: Call, user: str, password: str) -> bytes:
    if not has_basic(call, user, password):
        raise HTTPError(404, "Nothing is here.")
    return call.json({"authenticated": True, "user": user})


def bearer(call: Call) -> bytes:
    token = credentials(call, "bearer")
    if not token:
        raise HTTPError(401, "This needs a token.", [(b"WWW-Authenticate", b"Bearer")])
    return call.json({"authenticated": True, "token": token})


def digest_parameters(text: str) -> dict[str, str]:
    """The parameters of digest credentials, names in lower case (RFC 7616, 3.4)."""
    return {
        found["name"].lower(): re.sub(r"\\(.)", r"\1", found["quoted"]) if found["token"] is None else found["token"]
        for found in _PARAMETER.finditer(text)
    }


def digest_response(
    given: dict[str, str], algorithm: str, user: str, password: str, method: str, content: bytes = b""
) -> str:
    """
    The ``response`` that goes with the other parameters (RFC 7616, 3.4.1).

    :param content: the body of the request, which ``auth-int`` protects.
    """

    def hashed(data: bytes) -> str:
        return new_hash(_ALGORITHMS[algorithm], data).hexdigest()

    qop = given.get("qop", "")
    second = f"{method}:{given.get('uri', '')}" + (f":{hashed(content)}" if qop == "auth-int" else "")
    middle = [given.get(name, "") for name in (("nonce", "nc", "cnonce", "qop") if qop else ("nonce",))]
    first = hashed(f"{user}:{_REALM}:{password}".encode())
    return hashed(":".join([first, *middle, hashed(second.encode())]).encode())


def digest(call: Call, qop: str, user: str, password: str, algorithm: str = "MD5", stale_after: str = "never") -> bytes:
    algorithm = algorithm if algorithm in _ALGORITHMS else "MD5"
    qop = qop if qop in ("auth", "auth-int") else ""
    uses = None if stale_after == "never" else whole(stale_after, 0, 1_000_000)
    given = digest_parameters(credentials(call, "digest"))
    method = call.request.method.decode("ascii")
    genuine = (
        given.get("username") == user
        and given.get("qop", "") == qop
        and given.get("uri", "").encode() == call.request.uri
        and _same(given.get("response", ""), digest_response(given, algorithm, user, password, method, body(call)))
    )
    stale = genuine and uses is not None and _count(given) > uses
    if genuine and not stale:
        return call.json({"authenticated": True, "user": user})
    challenge = [f'realm="{_REALM}"', f'nonce="{token_hex(16)}"', f'opaque="{token_hex(8)}"', f"algorithm={algorithm}"]
    challenge += [f'qop="{qop}"'] if qop else []
    challenge += ["stale=true"] if stale else []
    field = f"Digest {', '.join(challenge)}".encode()
    raise HTTPError(401, "This needs a name and password.", [(b"WWW-Authenticate", field)])


def _count(given: dict[str, str]) -> int:
    """How often the nonce was used, as the client counts."""
    count = given.get("nc", "")
    return int(count, 16) if re.fullmatch("[0-9a-fA-F]{8}", count) else 1


ENDPOINTS = [
    Endpoint("/basic-auth/{user}/{password}", basic, "a login with this name and password"),
    Endpoint("/hidden-basic-auth/{user}/{password}", hidden_basic, "the same, with 404 in the place of 401"),
    Endpoint("/digest-auth/{qop}/{user}/{password}", digest, "a digest login; qop is auth, auth-int or none"),
    Endpoint("/digest-auth/{qop}/{user}/{password}/{algorithm}", digest, "the same with MD5, SHA-256 or SHA-512"),
    Endpoint(
        "/digest-auth/{qop}/{user}/{password}/{algorithm}/{uses}", digest, "the same with a nonce for so many uses"
    ),
    Endpoint("/bearer", bearer, "the bearer token of the request"),
]
