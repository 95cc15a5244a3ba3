"""
Loads mixweb for a long time, or while bad things happen to it, and checks what it promises: see README.md beside this file.
"""

import argparse
import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import WORKLOADS, Server, _children, connect, idle, load_http1, make_folder, mixweb

GET = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: How a slow client begins, and what it sends every second from then on.
SLOW = [
    (b"", b"G"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n"),
    (b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b"x"),
]

#: Seconds after which such a client has to be gone.
HEADER_TIMEOUT = 30


def latency(server, seconds):
    """The 99th percentile of wrk in milliseconds, and requests in a second."""
    url = f"http://127.0.0.1:{server.port}/hello"
    said = subprocess.run(
        ["wrk", "-t1", "-c20", f"-d{seconds}s", "--latency", url], capture_output=True, text=True, check=True
    ).stdout
    if "Socket errors" in said or "Non-2xx" in said:
        raise SystemExit(said)
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said).groups()
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit], float(
        re.search(r"Requests/sec:\s+([\d.]+)", said)[1]
    )


async def be_slow(port, kind, until, lives):
    """A slow client, again and again; how long each lived."""
    begin, rest = SLOW[kind % len(SLOW)]
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        started = time.monotonic()
        writer.write(begin)
        try:
            while True:
                writer.write(rest)
                try:
                    async with asyncio.timeout(1):
                        while await reader.read(4096):
                            pass
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        lives.append(time.monotonic() - started)
        writer.close()


async def slow_clients(port, count, seconds):
    """How long each of the slow clients lived that there were in that time."""
    lives = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(be_slow(port, number, until, lives) for number in range(count)))
    return lives


def slow(folder, arguments):
    """300 slow clients for two minutes beside 20 fast ones."""
    server = Server("slow", mixweb("--without", "accesslog"), folder, arguments.port)
    try:
        latency(server, 2)
        alone = latency(server, arguments.seconds // 4)
        both = asyncio.run(beside(server, arguments))
    finally:
        server.stop()
    lives, (late, rate) = both
    print(
        f"p99 alone {alone[0]:.2f} ms ({alone[1]:.0f}/s), beside {arguments.slow} slow ones {late:.2f} ms ({rate:.0f}/s)"
    )
    print(f"slow clients: {len(lives)} cut off after {min(lives):.1f} to {max(lives):.1f} s")
    return late - alone[0] <= 50 and max(lives) <= HEADER_TIMEOUT


async def beside(server, arguments):
    """How long the slow ones lived, and what the fast ones had of it."""
    return await asyncio.gather(
        slow_clients(server.port, arguments.slow, arguments.seconds),
        asyncio.to_thread(latency, server, arguments.seconds),
    )


def connections(folder, arguments):
    """5,000 idle connections."""
    server = Server("idle", mixweb("--without", "accesslog"), folder, arguments.port)
    try:
        cost = idle(server, connect, arguments.idle)
    finally:
        server.stop()
    print(f"{arguments.idle} idle connections: {cost:.2f} KiB each")
    return cost <= 1.8


def many(folder, arguments):
    """A million requests."""
    server = Server("many", mixweb("--without", "accesslog"), folder, arguments.port)
    rows = [WORKLOADS[name] for name in ("hello", "static_1k", "hello_close", "hello_browser", "tls_hello")]

    def state():
        time.sleep(2)
        return server.memory(), len(os.listdir(f"/proc/{server.process.pid}/fd"))

    try:
        answered = sum(load_http1(server, row, 3)[0] for row in rows)
        before = state()
        print(f"after {answered} requests: {before[0]} KiB, {before[1]} descriptors")
        while answered < arguments.requests:
            for row in rows:
                done, _ = load_http1(server, row, 10)
                if not done:
                    return False
                answered += done
            after = state()
            print(f"after {answered} requests: {after[0]} KiB, {after[1]} descriptors")
    finally:
        server.stop()
    return after[0] - before[0] <= 1024 and after[1] <= before[1]


class Client:
    """
    Asks again and again, checks every answer, and connects anew only when it was told so.

    :ivar failed: what went wrong, with the number of the request.
    """

    def __init__(self, port):
        self.port = port
        self.answered = 0
        self.failed = []
        self.stopped = False
        self.refused = False

    async def run(self):
        """Until it is stopped, or nobody listens."""
        while not (self.stopped or self.refused):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                self.refused = True
                return
            try:
                await self.ask(reader, writer)
            except (OSError, EOFError, ValueError) as reason:
                self.failed.append(f"after {self.answered}: {reason!r}")
            writer.close()

    async def ask(self, reader, writer):
        """On one connection."""
        last = False
        while not (self.stopped or last):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
            body = await reader.readexactly(int(length[1]))
            if not head.startswith(b"HTTP/1.1 200 OK\r\n") or body != b"Hello, world!":
                raise ValueError(f"{head!r} {body!r}")
            self.answered += 1
            last = b"\r\nConnection: close\r\n" in head


async def under_load(server, event, clients=20, after=2.0):
    """How many requests were answered around an event, and what failed for each client."""
    load = [Client(server.port) for _ in range(clients)]
    tasks = [asyncio.create_task(client.run()) for client in load]
    await asyncio.sleep(2)
    await event(server)
    await asyncio.sleep(after)
    for client in load:
        client.stopped = True
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    return sum(client.answered for client in load), [client.failed for client in load]


async def reload(server):
    """Ten times, with wrk as another client."""
    other = asyncio.create_task(asyncio.to_thread(load_http1, server, WORKLOADS["hello"], 6))
    for _ in range(10):
        await asyncio.sleep(0.5)
        os.kill(server.process.pid, signal.SIGHUP)
    answered, _ = await other
    if not answered:
        raise SystemExit("wrk had errors")
    print(f"wrk during 10 reloads: {answered} answered, no errors")


async def kill(server):
    """Kill a worker."""
    os.kill(_children(server.process.pid)[0], signal.SIGKILL)
    await asyncio.sleep(1)


async def drain(server):
    """End the server."""
    server.process.terminate()
    await asyncio.to_thread(server.process.wait, 20)


def life(folder, arguments):
    """Reload, the death of a worker, and drain, under load."""
    fine = True
    for workers, events in (("0", (reload, drain)), ("2", (reload, kill, drain))):
        make = mixweb("--without", "accesslog", "--workers", workers)
        server = Server(f"life-{workers}", make, folder, arguments.port)
        try:
            # The ports are open before the workers are ready.
            for _ in range(20):
                connect(server).close()
            for event in events:
                answered, failed = asyncio.run(under_load(server, event))
                count, most = sum(map(len, failed)), max(map(len, failed))
                print(
                    f"{workers} workers, {event.__name__}: {answered} answered, {count} failed, {most} at most of a client"
                )
                # A connection holds one request at a time.
                fine = fine and most <= (event is kill) and answered > 1000
        finally:
            if server.process.poll() is None:
                server.stop()
    return fine


CHECKS = {"slow": slow, "idle": connections, "many": many, "life": life}


def main():
    """Run the checks that are asked for; exit 1 when one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[[], *CHECKS], help="which; all when none is named")
    parser.add_argument("--slow", type=int, default=300, help="slow clients")
    parser.add_argument("--seconds", type=int, default=120, help="for which there are slow clients")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections")
    parser.add_argument("--requests", type=int, default=1_000_000, help="requests for which nothing may grow")
    parser.add_argument("--port", type=int, default=18300, help="of the server under load; for TLS the next one")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 16384), most))
    held = True
    for name in arguments.checks or CHECKS:
        with tempfile.TemporaryDirectory(prefix="mixweb-bench-") as folder:
            make_folder(Path(folder))
            result = CHECKS[name](Path(folder), arguments)
            print(f"{name}: {'holds' if result else 'DOES NOT HOLD'}", flush=True)
            held = held and result
    sys.exit(not held)


if __name__ == "__main__":
    main()
