"""
Descriptions of where to listen, read and checked before anything is opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from mixweb.engine.tls import Source

LOOPBACK = "127.0.0.1"

EVERYWHERE = "*"
"""The interface that stands for all addresses, IPv6 and IPv4 in one socket, or IPv4 alone where there is no IPv6."""

BACKLOG = 1024


@dataclass(frozen=True)
class Listen:
    """
    Where to listen.

    :param description: what was given, for messages.
    :param kind: ``tcp``, ``unix``, or ``endpoint`` for what Twisted makes from a description.
    :param port: of TCP; 0 for any that is free.
    :param interface: of TCP: an address, a host name, empty for all IPv4 addresses, or ``EVERYWHERE``.
    :param path: of the unix socket.
    :param mode: permissions of the unix socket.
    :param lockfile: whether a lock file beside the unix socket tells other servers to keep off.
    :param endpoint: the description for Twisted.
    :param backlog: how many connections may wait to be accepted.
    :param tls: the certificates to speak TLS with.
    :param twisted_tls: whether it is Twisted that speaks TLS.
    :param proxied: whether each connection begins with a PROXY header (haproxy).
    """

    description: str
    kind: str = "tcp"
    port: int = 0
    interface: str = ""
    path: str = ""
    mode: int = 0o666
    lockfile: bool = True
    endpoint: str = ""
    backlog: int = BACKLOG
    tls: Source | None = None
    twisted_tls: bool = False
    proxied: bool = False

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "https" if self.tls or self.twisted_tls else "http"


def parse(description: str, public: bool = False) -> Listen:
    """
    Understand one description.

    :param description: a number (a port on loopback), ``tls:FOLDER``, or an endpoint description as Twisted has them.
        ``tcp``, ``tcp6`` and ``systemd`` take a ``tls=FOLDER`` too.
    :param public: a number is a port on all addresses.
    :raises ValueError: with a sentence that says what is wrong.
    """
    text = description.strip()
    try:
        if text.isdecimal():
            return Listen(text, port=_port(text), interface=EVERYWHERE if public else LOOPBACK)
        return replace(_endpoint(text), description=text)
    except ValueError as error:
        raise ValueError(f"cannot listen on {text!r}: {error}") from None


def parse_all(description: str, public: bool = False) -> list[Listen]:
    """
    Understand one description, or those in a file when it is ``@FILE``: one in a line, ``#`` begins a comment.

    :raises ValueError: with a line for each problem.
    """
    if not description.startswith("@"):
        return [parse(description, public)]
    path = description[1:]
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from None
    listens, problems = [], []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            if text:
                listens.append(parse(text, public))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if not listens and not problems:
        problems.append(f"{path}: there is nothing to listen on in this file")
    if problems:
        raise ValueError("\n".join(problems))
    return listens


def https(port: int, certificate: str, privkey: str | None = None, public: bool = False) -> Listen:
    """
    TLS on a port of loopback, or of all addresses.

    :param certificate: a PEM file or a folder of them.
    :param privkey: the file of the key, when it is not in the certificate's.
    """
    interface = EVERYWHERE if public else LOOPBACK
    return Listen(f"https {port}", port=_port(str(port)), interface=interface, tls=Source(certificate, privkey))


def split(description: str) -> tuple[list[str], dict[str, str]]:
    """
    The parts of an endpoint description: those without and those with a name. A backslash takes a colon literally.

    :raises ValueError: it ends in a backslash, or says one thing twice.
    """
    parts: list[list[str]] = [[""]]
    characters = iter(description)
    for character in characters:
        if character == ":":
            parts.append([""])
        elif character == "=" and len(parts[-1]) == 1:
            parts[-1].append("")
        elif character == "\\":
            literal = next(characters, None)
            if literal is None:
                raise ValueError("a backslash must be followed by the character it stands for")
            parts[-1][-1] += literal
        else:
            parts[-1][-1] += character
    named = [part for part in parts if len(part) == 2]
    if len({name for name, _ in named}) < len(named):
        raise ValueError("an argument is given twice")
    return [part[0] for part in parts if len(part) == 1], dict(named)


def _endpoint(text: str) -> Listen:
    positional, named = split(text)
    if not positional or ":" not in text:
        raise ValueError("expected a port number or an endpoint description, like tcp:8080 or unix:/run/web.sock")
    kind = positional.pop(0).lower()
    if kind == "haproxy":
        return _haproxy(text.partition(":")[2])
    if kind in _KINDS:
        names, make = _KINDS[kind]
        return make(_arguments(kind, names, positional, named))
    known = {*_KINDS, "haproxy", *(plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser))}
    if kind not in known:
        raise ValueError(_unknown(kind, known, text))
    return Listen(text, "endpoint", endpoint=text)


def _unknown(kind: str, known: set[str], text: str) -> str:
    host, _, port = text.rpartition(":")
    if port.isdecimal():
        host = host.strip("[]").replace(":", "\\:")
        return f"write tcp:{port}:interface={host}" if host else f"write tcp:{port}"
    close = get_close_matches(kind, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"
    return f"unknown type {kind!r}{hint}"


def _arguments(kind: str, names: Sequence[str], positional: list[str], named: dict[str, str]) -> dict[str, str]:
    if len(positional) > len(names):
        raise ValueError(f"{kind} takes no more than {', '.join(names)}; {positional[len(names)]!r} is left over")
    given = dict(zip(names, positional, strict=False))
    for name, value in named.items():
        if name not in names:
            close = get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise ValueError(f"{kind} has no argument {name!r}; {hint}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    return given


def _tcp(given: Mapping[str, str], interface: str = "") -> Listen:
    if "port" not in given:
        raise ValueError("the port is missing")
    return Listen(
        "",
        port=_port(given["port"]),
        interface=given.get("interface", interface),
        backlog=_backlog(given),
        tls=Source(given["tls"]) if "tls" in given else None,
    )


def _tcp6(given: Mapping[str, str]) -> Listen:
    return _tcp(given, "::")


def _tls(given: Mapping[str, str]) -> Listen:
    if not given.get("path"):
        raise ValueError("the folder of certificates is missing: write tls:FOLDER:port=443")
    return _tcp({"port": "443", **given, "tls": given["path"]}, EVERYWHERE)


def _unix(given: Mapping[str, str]) -> Listen:
    if not given.get("address"):
        raise ValueError("the path is missing: write unix:/run/web.sock")
    try:
        mode = int(given.get("mode", "666"), 8)
    except ValueError:
        raise ValueError(f"mode must be octal permissions like 660, not {given['mode']!r}") from None
    lockfile = given.get("lockfile", "1")
    if lockfile not in ("0", "1"):
        raise ValueError(f"lockfile must be 0 or 1, not {lockfile!r}")
    path = given["address"]
    return Listen("", "unix", path=path, mode=mode, lockfile=lockfile == "1", backlog=_backlog(given))


def _systemd(given: Mapping[str, str]) -> Listen:
    domain = given.get("domain")
    if domain not in ("INET", "INET6", "UNIX"):
        raise ValueError(f"domain must be INET, INET6 or UNIX, not {domain!r}")
    if ("index" in given) == ("name" in given):
        raise ValueError("systemd takes either name (FileDescriptorName= of the socket unit) or index")
    if "index" in given:
        _number("index", given["index"], 0, 1023)
    if domain == "UNIX" and "tls" in given:
        raise ValueError("there is no TLS on unix sockets")
    rest = [f"{name}={quoteStringArgument(value)}" for name, value in given.items() if name != "tls"]
    tls = Source(given["tls"]) if "tls" in given else None
    return Listen("", "endpoint", endpoint=":".join(["systemd", *rest]), tls=tls)


def _ssl(given: Mapping[str, str]) -> Listen:
    if "port" not in given:
        raise ValueError("the port is missing")
    rest = [f"{name}={quoteStringArgument(value)}" for name, value in given.items() if name not in ("port", "backlog")]
    parts = ["ssl", str(_port(given["port"])), f"backlog={_backlog(given)}", *rest]
    return Listen("", "endpoint", endpoint=":".join(parts), twisted_tls=True)


def _haproxy(text: str) -> Listen:
    inner = _endpoint(text)
    if inner.proxied:
        raise ValueError("haproxy is given twice")
    if inner.tls is not None:
        raise ValueError("a PROXY header comes before TLS, which cannot be read here: let the proxy end TLS")
    return replace(inner, proxied=True)


def _port(text: str) -> int:
    return _number("port", text, 0, 65535)


def _backlog(given: Mapping[str, str]) -> int:
    return _number("backlog", given["backlog"], 1, 65535) if "backlog" in given else BACKLOG


def _number(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and low <= int(text[:6]) <= high and len(text) < 7):
        raise ValueError(f"{name} must be a number from {low} to {high}, not {text!r}")
    return int(text)


_KINDS: dict[str, tuple[Sequence[str], Callable[[Mapping[str, str]], Listen]]] = {
    "tcp": (("port", "interface", "backlog", "tls"), _tcp),
    "tcp6": (("port", "backlog", "interface", "tls"), _tcp6),
    "tls": (("path", "port", "backlog", "interface"), _tls),
    "unix": (("address", "mode", "backlog", "lockfile"), _unix),
    "systemd": (("domain", "index", "name", "tls"), _systemd),
    "ssl": (
        ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
        _ssl,
    ),
}
