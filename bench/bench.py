"""
Loads mixweb and stock ``twistd web`` in turn and prints how they compare: see README.md beside this file.
"""

import argparse
import os
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
TWISTD = Path(sys.executable).parent / "twistd"

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://127.0.0.1/",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Priority": "u=0, i",
}


#: A client of HTTP/2: its preface and settings, and a request for ``/hello`` on stream 1.
HTTP2_HELLO = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")
    + bytes.fromhex("000015 01 05 00000001") + b"\x82\x87\x01\x09localhost\x04\x06/hello"
)  # fmt: skip


#: Where the server is that others pass requests on to: an nginx.
UPSTREAM_PORT = 18090


@dataclass(frozen=True)
class Workload:
    """
    What is asked for, and how.

    :ivar streams: requests that a connection of HTTP/2 has open at a time; 0 for HTTP/1.1.
    :ivar uris: how many different queries are asked for.
    :ivar upload: a file to post.
    :ivar quiet: the log of the reference would count for too much: it is stock without its log.
    """

    path: str
    connections: int = 64
    headers: dict = field(default_factory=dict)
    script: str = ""
    tls: bool = False
    per_byte: bool = False
    streams: int = 0
    uris: int = 1
    upload: str = ""
    quiet: bool = False


WORKLOADS = {
    "hello": Workload("/hello"),
    "hello_browser": Workload("/hello", headers=BROWSER),
    "hello_close": Workload("/hello", headers={"Connection": "close"}),
    "hello_pipelined": Workload("/hello", script="pipeline.lua"),
    "static_1k": Workload("/static/1k.bin"),
    "static_100k": Workload("/static/100k.bin", connections=16),
    "static_100m": Workload("/static/100m.bin", connections=4, per_byte=True),
    "proxy_1k": Workload("/proxy/static/1k.bin"),
    "tls_hello": Workload("/hello", tls=True),
    "h2_hello": Workload("/hello", 16, streams=8),
    "h2_browser": Workload("/hello", 16, headers=BROWSER, streams=8),
    "h2_distinct": Workload("/hello", 16, headers=BROWSER, streams=8, uris=2000),
    "h2_one": Workload("/hello", 16, streams=1),
    "h2_static_1k": Workload("/static/1k.bin", 16, streams=8),
    "h2_static_100k": Workload("/static/100k.bin", 16, streams=8),
    "h2_upload_64k": Workload("/upload", 16, streams=8, upload="64k.bin", quiet=True),
}


class Server:
    """
    A program under load.

    :param command: its arguments for ports and a folder with ``static`` and a certificate in it.
    :param tls: whether it has a second port, for TLS.
    """

    def __init__(self, name, command, folder, first_port, tls=True):
        self.name = name
        self.port, self.tls_port = first_port, first_port + tls
        log = (folder / f"{name.replace(', ', '-')}.out").open("wb")
        self.process = subprocess.Popen(
            command(self.port, self.tls_port, folder), cwd=folder, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": f"{HERE}:{folder}"},
        )  # fmt: skip
        log.close()
        for port in (self.port, self.tls_port):
            wait_for(port, self.process)

    def cpu(self):
        """Seconds of processor time used so far, by its children too."""
        return sum(_cpu(pid) for pid in [self.process.pid, *_children(self.process.pid)])

    def memory(self):
        """Resident memory in KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def stop(self):
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(port, process):
    """Return when a port answers."""
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{process.args} does not listen on {port}")


def stock(port, tls_port, folder):
    """Stock twistd web, its access log on, as it is by default."""
    listen = f"tcp:{port}:interface=127.0.0.1"
    tls = f"ssl:{tls_port}:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"
    (folder / "stock.py").write_text(
        "from twisted.web.proxy import ReverseProxyResource\nfrom twisted.web.static import File\nimport root\n\n\n"
        f"def Stock():\n    made = root.Root()\n    made.putChild(b'static', File({str(folder / 'static')!r}))\n"
        f"    made.putChild(b'proxy', ReverseProxyResource('127.0.0.1', {UPSTREAM_PORT}, b''))\n    return made\n"
    )
    return [TWISTD, "-n", "--pidfile=", "web", "--listen", listen, "--listen", tls, "--class", "stock.Stock"]


def quiet_stock(port, tls_port, folder):
    """Stock twistd web without its log."""
    (folder / "quiet.tac").write_text(
        "from twisted.application import service, strports\nfrom twisted.web.server import Site\nimport stock\n\n"
        "site = Site(stock.Stock())\nsite.log = lambda request: None\napplication = service.Application('quiet')\n"
        f"for listen in ('tcp:{port}:interface=127.0.0.1',\n"
        f"               'ssl:{tls_port}:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem'):\n"
        "    strports.service(listen, site).setServiceParent(application)\n"
    )
    return [TWISTD, "-n", "--pidfile=", "-y", "quiet.tac"]


def mixweb(*options):
    """mixweb as it comes, with options."""

    def command(port, tls_port, folder):
        return [
            TWISTD, "-r", "mixweb", "-n", "--pidfile=", "web-mix", "--port", str(port), "--https", str(tls_port),
            "--certificate", "cert.pem", "--privkey", "key.pem", "--class", "root.Root",
            "--files", str(folder / "static"), "--at", "/static",
            "--proxy", f"http://127.0.0.1:{UPSTREAM_PORT}", "--at", "/proxy", *options,
        ]  # fmt: skip

    return command


NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx{port}.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000000;
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl http2;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location = /hello {{ default_type text/plain; return 200 "Hello, world!"; }}
    location /static/ {{ root {folder}; }}
    location /proxy/ {{ proxy_pass http://behind/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def nginx(port, tls_port, folder):
    """nginx with one worker, its access log off."""
    name = f"nginx{port}.conf"
    (folder / name).write_text(NGINX.format(port=port, tls_port=tls_port, folder=folder, upstream=UPSTREAM_PORT))
    return ["nginx", "-p", str(folder), "-c", name]


def make_folder(folder):
    """Files to serve and a certificate."""
    (folder / "static").mkdir()
    for name, size in (("1k", 1024), ("64k", 64 * 1024), ("100k", 100 * 1024), ("100m", 100 * 1024 * 1024)):
        with (folder / "static" / f"{name}.bin").open("wb") as file:
            file.truncate(size)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def load_http2(server, workload, seconds, folder):
    """Requests answered, none after any error; no bytes are counted."""
    url = f"https://127.0.0.1:{server.tls_port}{workload.path}"
    uris = folder / "uris"
    queries = [f"?page={number}&from=search&q=word{number}" for number in range(workload.uris)]
    uris.write_text("".join(f"{url}{query if workload.uris > 1 else ''}\n" for query in queries))
    command = ["h2load", "-t1", f"-c{workload.connections}", f"-m{workload.streams}", f"-D{seconds}", "-i", uris]
    for name, value in workload.headers.items():
        command += ["-H", f"{name}: {value}"]
    if workload.upload:
        command += ["-d", folder / "static" / workload.upload]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done, succeeded, failed = map(int, re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", said).groups())
    answered = int(re.search(r"status codes: (\d+) 2xx", said)[1])
    if "Application protocol: h2\n" not in said or failed or done != succeeded or abs(answered - done) > 200:
        print(f"! {server.name}: {said}", file=sys.stderr)
        return 0, 0
    return done, 0


def load_http1(server, workload, seconds):
    """Requests and bytes answered, none after any error."""
    url = f"https://127.0.0.1:{server.tls_port}" if workload.tls else f"http://127.0.0.1:{server.port}"
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s"]
    for name, value in workload.headers.items():
        command += ["-H", f"{name}: {value}"]
    if workload.script:
        command += ["-s", str(HERE / workload.script)]
    said = subprocess.run([*command, url + workload.path], capture_output=True, text=True, check=True).stdout
    requests, amount, unit = re.search(r"(\d+) requests in [\d.]+m?s, ([\d.]+)(\w+) read", said).groups()
    if "Socket errors" in said or "Non-2xx" in said:
        print(f"! {server.name}: {said}", file=sys.stderr)
        return 0, 0
    return int(requests), float(amount) * {"KB": 1e3, "MB": 1e6, "GB": 1e9, "B": 1}[unit]


def measure(server, workload, seconds, folder):
    """Seconds of processor time for a request, or for a byte; endless after any error."""
    before = server.cpu()
    if workload.streams:
        requests, amount = load_http2(server, workload, seconds, folder)
    else:
        requests, amount = load_http1(server, workload, seconds)
    done = amount if workload.per_byte else requests
    return (server.cpu() - before) / done if done else float("inf")


def compare(servers, workload, rounds, seconds, folder):
    """For each server the median of its CPU ratio to the reference; nginx takes no uploads by itself."""
    reference = "stock, no log" if workload.quiet else "stock"
    servers = [server for server in servers if not (workload.upload and server.name == "nginx")]
    ratios = {server.name: [] for server in servers}
    for server in servers:
        measure(server, workload, 1, folder)
    for _ in range(rounds):
        costs = {server.name: measure(server, workload, seconds, folder) for server in servers}
        for name, cost in costs.items():
            ratios[name].append(costs[reference] / cost)
    return {name: statistics.median(found) for name, found in ratios.items()}


def connect(server):
    """A connection of HTTP/1.1 that has had an answer."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.recv(4096)
    return connection


def connect_http2(server):
    """A connection of HTTP/2 that has had an answer."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", server.tls_port), timeout=20))
    connection.sendall(HTTP2_HELLO)
    received = b""
    while b"Hello, world!" not in received:
        received += connection.recv(4096)
    return connection


def idle(server, connect, count):
    """KiB of memory for each idle connection that has had an answer."""
    warm = [connect(server) for _ in range(20)]
    before = server.memory()
    connections = [connect(server) for _ in range(count)]
    time.sleep(3)
    cost = (server.memory() - before) / count
    for connection in warm + connections:
        connection.close()
    return cost


def idle_afresh(name, make, folder, connect, count):
    """What :func:`idle` finds at a server that has had no load: memory that is free there would hide the cost."""
    server = Server(f"{name}, idle", make, folder, 18200)
    try:
        return idle(server, connect, count)
    finally:
        server.stop()


IDLE = {"idle": (connect, 2000), "h2_idle": (connect_http2, 500)}


def main():
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default=",".join([*WORKLOADS, *IDLE]), help="rows, separated by commas")
    given = parser.parse_args()
    for program, package in (("wrk", "wrk"), ("h2load", "nghttp2-client")):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install {package}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    commands = {
        "stock": stock,
        "stock, no log": quiet_stock,
        "mixweb": mixweb("--without", "accesslog"),
        "mixweb, log": mixweb("--accesslog", "access.log"),
    }
    if shutil.which("nginx"):
        commands["nginx"] = nginx
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        behind = [Server("behind", nginx, folder, UPSTREAM_PORT)] if "nginx" in commands else []
        servers = [Server(name, make, folder, 18100 + 10 * n) for n, (name, make) in enumerate(commands.items())]
        try:
            report(servers, commands, given, folder)
        finally:
            for server in servers + behind:
                server.stop()


def report(servers, commands, given, folder):
    """Print the rows."""
    print("| row |", " | ".join(server.name for server in servers), "|")
    print("|---" * (len(servers) + 1) + "|")
    for row in given.only.split(","):
        if row in IDLE:
            found = {name: idle_afresh(name, make, folder, *IDLE[row]) for name, make in commands.items()}
            print(f"| {row}, KiB |", " | ".join(f"{cost:.1f}" for cost in found.values()), "|", flush=True)
            continue
        found = compare(servers, WORKLOADS[row], given.rounds, given.seconds, folder)
        shown = [f"{found[name]:.2f}" if name in found else "-" for name in commands]
        print(f"| {row} |", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()
