"""
Loads a routed function with two typed arguments, written for mixweb and for others, in turn: see README.md beside this file.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from bench import TWISTD, Server, Workload, measure

TARGET = "/hi?name=you&times=3"

#: What each serves: the same page, its arguments checked as the framework does it.
APPLICATIONS = {
    "mixweb_app": """
from mixweb.pages import Pages
site = Pages()
@site.route("/hi")
def hi(name: str, times: int = 1) -> str:
    return "Hello, world!"
""",
    "klein_app": """
import sys
from klein import Klein
app = Klein()
@app.route("/hi")
def hi(request):
    name, times = request.args[b"name"][0].decode(), int(request.args.get(b"times", [b"1"])[0])
    request.setHeader("Content-Type", "text/html; charset=utf-8")
    return "Hello, world!"
from twisted.internet import reactor
from twisted.web.server import Site
site = Site(app.resource())
site.log = lambda request: None
reactor.listenTCP(int(sys.argv[1]), site, interface="127.0.0.1")
reactor.run()
""",
    "cherrypy_app": """
import sys
import cherrypy
class Root:
    @cherrypy.expose
    @cherrypy.tools.params()
    def hi(self, name: str, times: int = 1):
        return "Hello, world!"
cherrypy.config.update({"server.socket_port": int(sys.argv[1]), "environment": "production", "log.screen": False})
cherrypy.quickstart(Root())
""",
    "tornado_app": """
import asyncio, sys
from tornado.web import Application, RequestHandler
class Hi(RequestHandler):
    def get(self):
        name, times = self.get_argument("name"), int(self.get_argument("times", "1"))
        self.write("Hello, world!")
async def main():
    Application([("/hi", Hi)], log_function=lambda handler: None).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()
asyncio.run(main())
""",
    "flask_app": """
import sys
from flask import Flask, request
app = Flask(__name__)
@app.route("/hi")
def hi():
    name, times = request.args["name"], request.args.get("times", 1, type=int)
    return "Hello, world!"
from waitress import serve
serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=4)
""",
    "starlette_app": """
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
async def hi(request):
    name, times = request.query_params["name"], int(request.query_params.get("times", "1"))
    return HTMLResponse("Hello, world!")
app = Starlette(routes=[Route("/hi", hi)])
""",
}


def mixweb(*options):
    """mixweb on its own reactor, without logs and wrappers, as the others are."""
    return lambda port, tls_port, folder: [
        TWISTD, "-r", "mixweb", "-n", "--pidfile=", "web-mix", "--port", str(port), "--without", "accesslog",
        "--without", "secureheaders", *options,
    ]  # fmt: skip


def program(python, name):
    """A program that is told its port."""
    return lambda port, tls_port, folder: [python, f"{name}.py", str(port)]


def uvicorn(python):
    """Starlette's usual server."""
    return lambda port, tls_port, folder: [
        python, "-m", "uvicorn", "starlette_app:app", "--port", str(port), "--no-access-log", "--log-level", "critical",
    ]  # fmt: skip


def main():
    """Start all, load them in turn, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument(
        "--peers", help="a Python that has klein, cherrypy, tornado, flask, waitress, starlette and uvicorn"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, text in APPLICATIONS.items():
            (folder / f"{name}.py").write_text(text)
        servers = start(folder, given.peers)
        try:
            show(servers, given.rounds, given.seconds, folder)
        finally:
            for server in servers:
                server.stop()


def start(folder, peers):
    """The servers: a bare resource, the routed function, and that of the others."""
    commands = {
        "hello": mixweb("--class", "root.Hello"),
        "pages": mixweb("--pages", "mixweb_app:site"),
    }
    if peers:
        for name in ("klein", "cherrypy", "tornado", "flask"):
            commands[name] = program(peers, f"{name}_app")
        commands["starlette"] = uvicorn(peers)
    servers = []
    for number, (name, command) in enumerate(commands.items()):
        servers.append(Server(name, command, folder, 24300 + number, tls=False))
    return servers


def show(servers, rounds, seconds, folder):
    """Print how many requests each answers with the processor time that the bare resource takes for one."""
    workload = Workload(TARGET)
    costs = {server.name: [] for server in servers}
    for server in servers:
        measure(server, workload, 1, folder)
    for _ in range(rounds):
        for server in servers:
            costs[server.name].append(measure(server, workload, seconds, folder))
    bare = statistics.median(costs["hello"])
    for name, found in costs.items():
        cost = statistics.median(found)
        print(f"{name:<10} {cost * 1e6:8.1f} us  {bare / cost:5.2f}")


if __name__ == "__main__":
    main()
