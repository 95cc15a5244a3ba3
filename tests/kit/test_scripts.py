"""
Python files as resources and pages: what they are given, what is kept, and what is said when they are wrong.
"""

import os

import pytest
from twisted.application.service import IServiceCollection, Service
from twisted.logger import globalLogPublisher
from twisted.web.static import Registry

from mixweb.engine.errors import HTTPError
from mixweb.engine.site import Site
from mixweb.kit.mounted import MountedResource
from mixweb.kit.scripts import PythonScript, ScriptRegistry, make_registry, run_script
from mixweb.testing import SiteAgent, make_context

COUNTER = """
from twisted.web.resource import Resource

class Counter(Resource):
    isLeaf = True
    visits = 0

    def render_GET(self, request):
        self.visits += 1
        return b"%s %%d" %% self.visits

%s
resource = Counter()
"""


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns its path; a file written before seems to be old."""

    def write(text, name="page.rpy"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def entries():
    """What was logged."""
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def agent(path, registry=None, tracebacks=False):
    kept = registry or ScriptRegistry()
    site = Site(MountedResource(lambda: run_script(path, kept)))
    site.displayTracebacks = tracebacks
    return SiteAgent(site)


def age(path, seconds):
    """Have a file look as if it was written some seconds ago."""
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


@pytest.mark.parametrize(
    ("calls", "first", "second", "edited"),
    [
        ("", "a 1", "a 1", "b 1"),
        ("cache()", "a 1", "a 2", "b 1"),
        ("recache()", "a 1", "a 1", "b 1"),
    ],
)
def test_what_is_kept(script, calls, first, second, edited):
    """A script is run for each request, unless it has called cache(); when its file changes it is always run anew."""
    path = script(COUNTER % ("a", calls))
    asked = agent(path)
    assert [asked.get("/").text, asked.get("/").text] == [first, second]
    script(COUNTER % ("b", calls))
    assert asked.get("/").text == edited


def test_edit_of_equal_size_is_seen(script):
    """A file written again at once, with the same length, is compiled again."""
    path = script(COUNTER % ("0", ""))
    asked = agent(path)
    found = []
    for number in range(20):
        script(COUNTER % (f"{number % 10}", ""))
        found.append(asked.get("/").text)
    assert found == [f"{number % 10} 1" for number in range(20)]


def test_unchanged_file_is_compiled_once(script):
    """A file that has not changed is not compiled again."""
    path = script(COUNTER % ("a", ""))
    age(path, 10)
    registry = Registry()
    run_script(path, registry)
    codes = {run_script(path, registry).render_GET.__code__ for _ in range(3)}
    assert len({id(code) for code in codes}) == 1


def test_recache_replaces(script):
    """After recache() has been called once, cache() finds the new resource."""
    text = COUNTER % ("a", "(recache if registry.getComponent(list) else cache)()")
    registry = ScriptRegistry()
    asked = agent(script(text), registry)
    assert [asked.get("/").text, asked.get("/").text] == ["a 1", "a 2"]
    registry.setComponent(list, ["again"])
    assert asked.get("/").text == "a 1"
    registry.unsetComponent(list)
    assert asked.get("/").text == "a 2"


def test_names(script):
    """A script knows where it is, and its registry keeps things by their class."""
    text = """
from twisted.web.static import Data
class Visits:
    count = 0
visits = registry.getComponent(Visits)
if not visits:
    visits = Visits()
    registry.setComponent(Visits, visits)
visits.count += 1
resource = Data(f"{__file__} {visits.count} {resource}".encode(), "text/plain")
"""
    path = script(text)
    asked = agent(path)
    assert [asked.get("/").text, asked.get("/").text] == [f"{path} 1 None", f"{path} 2 None"]


def test_script_has_its_own_future(script):
    """Annotations in a script are evaluated, as in any module that does not ask for anything else."""
    path = script(
        "from twisted.web.static import Data\ndef f(x: int): pass\nresource = Data(b'', 'a/b')\nresource.f = f"
    )
    assert run_script(path, Registry()).f.__annotations__ == {"x": int}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "from twisted.web import resource",
        "from twisted.web.resource import Resource\nresource = Resource",
        "resource = 'text'",
    ],
)
def test_no_resource(script, entries, text):
    """A script that binds no resource is a 500 that says what it must do, and an entry in the log."""
    found = agent(script(text)).get("/")
    assert found.status == 500
    assert "page.rpy must bind the name 'resource'" in found.text
    assert [event["log_format"] for event in entries if event["log_namespace"] == "mixweb.kit.scripts"] == [
        "{path} binds no resource, but {found!r}"
    ]


@pytest.mark.parametrize(("text", "error"), [("resource = (", SyntaxError), ("1 / 0", ZeroDivisionError)])
@pytest.mark.parametrize("shown", [True, False])
def test_broken_script(script, failures, text, error, shown):
    """A script that does not compile or raises is a 500; the traceback is shown only where tracebacks are displayed."""
    found = agent(script(text), tracebacks=shown).get("/")
    assert found.status == 500
    assert ("page.rpy" in found.text) is shown
    assert [failure.type for failure in failures] == [error]


def test_missing_script(tmp_path):
    """A script that is gone is a 404."""
    with pytest.raises(HTTPError) as caught:
        run_script(str(tmp_path / "gone.rpy"), Registry())
    assert caught.value.status == 404


def page(path, tracebacks=False):
    site = Site(PythonScript(path, Registry()))
    site.displayTracebacks = tracebacks
    return SiteAgent(site)


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("request.write(b'one '); request.write(__file__[-8:].encode())", 200, "one page.epy"),
        ("request.write(b'done'); request.finish()", 200, "done"),
        ("", 200, ""),
        ("request.setResponseCode(418)", 418, ""),
        ("from mixweb import HTTPError\nraise HTTPError(409, 'No.')", 409, "409 Conflict\nNo.\n"),
    ],
)
def test_page(script, text, status, body):
    """A .epy file writes its answer to the request, and the answer ends with the file."""
    found = page(script(text, "page.epy")).get("/")
    assert (found.status, found.text, found["X-Powered-By"]) == (status, body, None)


@pytest.mark.parametrize("shown", [True, False])
def test_broken_page(script, failures, shown):
    """A .epy that raises is a 500; its traceback goes to the client only where tracebacks are displayed."""
    found = page(script("1 / 0", "page.epy"), shown).get("/")
    assert found.status == 500
    assert ("ZeroDivisionError" in found.text) is shown
    assert [failure.type for failure in failures] == [ZeroDivisionError]


def test_page_breaks_midway(script, failures):
    """A .epy that raises after it has begun to answer has its connection dropped: the client sees that it is incomplete."""
    exchange = page(script("request.write(b'half'); 1 / 0", "page.epy")).open()
    assert exchange.transport.aborted
    assert [failure.type for failure in failures] == [ZeroDivisionError]


def test_services_of_scripts():
    """What a script puts into the service collection of its registry runs as long as the mount."""
    services = []
    registry = make_registry(make_context(add_service=services.append))
    child = Service()
    child.setServiceParent(registry.getComponent(IServiceCollection))
    services[0].startService()
    assert child.running
    services[0].stopService()
    assert not child.running
