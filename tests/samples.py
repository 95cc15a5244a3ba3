"""
Features made up for the tests of the core.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twisted.web.resource import Resource

from mixweb.feature import FilePath, Mount, MountSettings, Stage, Wrap, WrapperSettings, option
from mixweb.registry import Registry
from mixweb.wrapper import Declined, Wrapper


@dataclass(frozen=True)
class Files(MountSettings):
    """Files, or what looks like them."""

    path: FilePath = option(".", principal=True, help="Folder.", metavar="DIR")
    index: Sequence[str] = option(("index.html",), help="Index names.")
    processors: Mapping[str, str] = option({}, help="Processors.")
    listing: bool = option(True, help="Whether to list.")
    default_type: str = option("", help="Type.")
    ignore_ext: Sequence[str] = option((), help="Extensions.")


@dataclass(frozen=True)
class Echo(MountSettings):
    """Says what it got."""

    at: str = option("/echo", help="Path.", kw_only=True)
    size: int = option(5, help="How much, in bytes.")
    rate: float = option(0.5, help="How fast.")
    token: str = option("", help="Secret.", secret=True)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size must not be negative")


@dataclass(frozen=True)
class Goto(MountSettings):
    """Takes the rest as it came."""

    at: str = option("/goto", help="Path.", kw_only=True)


@dataclass(frozen=True)
class Tag(WrapperSettings):
    """Adds a letter to X-Tags."""

    letter: str = option("t", principal=True, help="Letter.")


@dataclass(frozen=True)
class Log(WrapperSettings):
    """Belongs to the server."""

    path: FilePath = option("", principal=True, help="File.")


class Show(Resource):
    """Says which settings it was made of and what it was asked for."""

    isLeaf = True

    def __init__(self, settings, name):
        super().__init__()
        self.name = name
        self.settings = settings

    def render_GET(self, request):
        if b"declined" in request.postpath:
            raise Declined
        raw = request.canonical_path.raw
        return f"{self.name} {request.prepath} {request.postpath} {raw}"


class TagWrapper(Wrapper):
    """Adds its letter."""

    def __init__(self, letter, inner):
        super().__init__(inner)
        self.letter = letter.encode()

    def handle(self, request):
        request.before_headers(lambda r: r.responseHeaders.addRawHeader(b"X-Tags", self.letter))
        self.forward(request)


def refuse(settings, context):
    raise ValueError("cannot be built")


def wrap_tag(settings, inner, context):
    return TagWrapper(settings.letter, inner)


SAMPLES = Registry(
    [
        Mount("files", Files, lambda settings, context: Show(settings, f"files {settings.path}"), declines=True),
        Mount("echo", Echo, lambda settings, context: Show(settings, "echo")),
        Mount("goto", Goto, lambda settings, context: Show(settings, "goto"), raw=True),
        Wrap("tag", Stage.HEADERS, Tag, wrap_tag, default=True),
        Wrap("log", Stage.OBSERVE, Log, lambda settings, inner, context: TagWrapper("L", inner)),
    ]
)
