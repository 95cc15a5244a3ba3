"""
Loads mixweb and stock ``twistd web`` in turn and prints how they compare: see README.md beside this file.
"""

import argparse
import os
import re
import resource
import shutil
import socket
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


@dataclass(frozen=True)
class Workload:
    """What is asked for, and how."""

    path: str
    connections: int = 64
    headers: dict = field(default_factory=dict)
    script: str = ""
    tls: bool = False
    per_byte: bool = False


WORKLOADS = {
    "hello": Workload("/hello"),
    "hello_browser": Workload("/hello", headers=BROWSER),
    "hello_close": Workload("/hello", headers={"Connection": "close"}),
    "hello_pipelined": Workload("/hello", script="pipeline.lua"),
    "static_1k": Workload("/static/1k.bin"),
    "static_100k": Workload("/static/100k.bin", connections=16),
    "static_100m": Workload("/static/100m.bin", connections=4, per_byte=True),
    "tls_hello": Workload("/hello", tls=True),
}


class Server:
    """
    A program under load.

    :param command: its arguments for ports and a folder with ``static`` and a certificate in it.
    """

    def __init__(self, name, command, folder, first_port):
        self.name = name
        self.port, self.tls_port = first_port, first_port + 1
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
        "from twisted.web.static import File\nimport root\n\n\ndef Stock():\n    made = root.Root()\n"
        f"    made.putChild(b'static', File({str(folder / 'static')!r}))\n    return made\n"
    )
    return [TWISTD, "-n", "--pidfile=", "web", "--listen", listen, "--listen", tls, "--class", "stock.Stock"]


def mixweb(*options):
    """mixweb as it comes, with options."""

    def command(port, tls_port, folder):
        return [
            TWISTD, "-r", "mixweb", "-n", "--pidfile=", "web-mix", "--port", str(port), "--https", str(tls_port),
            "--certificate", "cert.pem", "--privkey", "key.pem", "--class", "root.Root",
            "--files", str(folder / "static"), "--at", "/static", *options,
        ]  # fmt: skip

    return command


NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location = /hello {{ default_type text/plain; return 200 "Hello, world!"; }}
    location /static/ {{ root {folder}; }}
  }}
}}
"""


def nginx(port, tls_port, folder):
    """nginx with one worker, its access log off."""
    (folder / "nginx.conf").write_text(NGINX.format(port=port, tls_port=tls_port, folder=folder))
    return ["nginx", "-p", str(folder), "-c", "nginx.conf"]


def make_folder(folder):
    """Files to serve and a certificate."""
    (folder / "static").mkdir()
    for name, size in (("1k", 1024), ("100k", 100 * 1024), ("100m", 100 * 1024 * 1024)):
        with (folder / "static" / f"{name}.bin").open("wb") as file:
            file.truncate(size)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def load(server, workload, seconds):
    """Requests and bytes answered, and seconds of processor time; (0, 0, 0) after any error."""
    url = f"https://127.0.0.1:{server.tls_port}" if workload.tls else f"http://127.0.0.1:{server.port}"
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s"]
    for name, value in workload.headers.items():
        command += ["-H", f"{name}: {value}"]
    if workload.script:
        command += ["-s", str(HERE / workload.script)]
    before = server.cpu()
    said = subprocess.run([*command, url + workload.path], capture_output=True, text=True, check=True).stdout
    used = server.cpu() - before
    requests, amount, unit = re.search(r"(\d+) requests in [\d.]+m?s, ([\d.]+)(\w+) read", said).groups()
    if "Socket errors" in said or "Non-2xx" in said:
        print(f"! {server.name}: {said}", file=sys.stderr)
        return 0, 0, 0
    return int(requests), float(amount) * {"KB": 1e3, "MB": 1e6, "GB": 1e9, "B": 1}[unit], used


def compare(servers, workload, rounds, seconds):
    """For each server the median of its CPU ratio to the first one."""
    ratios = {server.name: [] for server in servers}
    for server in servers:
        load(server, workload, 1)
    for _ in range(rounds):
        reference = 0.0
        for server in servers:
            requests, amount, used = load(server, workload, seconds)
            done = amount if workload.per_byte else requests
            cost = used / done if done else float("inf")
            reference = reference or cost
            ratios[server.name].append(reference / cost)
    return {name: statistics.median(found) for name, found in ratios.items()}


def idle(server, count=2000):
    """KiB of memory for each idle connection that has had an answer."""
    before = server.memory()
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connections.append(connection)
    for connection in connections:
        connection.recv(4096)
    time.sleep(3)
    cost = (server.memory() - before) / count
    for connection in connections:
        connection.close()
    return cost


def main():
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default=",".join([*WORKLOADS, "idle"]), help="rows, separated by commas")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    commands = {
        "stock": stock,
        "mixweb": mixweb("--without", "accesslog"),
        "mixweb, log": mixweb("--accesslog", "access.log"),
    }
    if shutil.which("nginx"):
        commands["nginx"] = nginx
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        servers = [Server(name, make, folder, 18100 + 10 * n) for n, (name, make) in enumerate(commands.items())]
        try:
            report(servers, given)
        finally:
            for server in servers:
                server.stop()


def report(servers, given):
    """Print the rows."""
    print("| row |", " | ".join(server.name for server in servers), "|")
    print("|---" * (len(servers) + 1) + "|")
    for row in given.only.split(","):
        if row == "idle":
            print("| idle, KiB |", " | ".join(f"{idle(server):.1f}" for server in servers), "|", flush=True)
            continue
        found = compare(servers, WORKLOADS[row], given.rounds, given.seconds)
        print(f"| {row} |", " | ".join(f"{found[server.name]:.2f}" for server in servers), "|", flush=True)


if __name__ == "__main__":
    main()
