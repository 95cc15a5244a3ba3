"""
Workers: several processes that serve together.
"""

import concurrent.futures
import http.client
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from functools import partial

import pytest
import trustme

from tests.wire.conftest import BIN
from tests.wire.test_life import SLOW, Load

#: A page that tells something of its process.
PAGE = """
import os, sys
from twisted.web.resource import Resource

class Page(Resource):
    isLeaf = True

    def render_GET(self, request):
        return str({}).encode()

resource = Page()
"""

SITE = """\
port = "0"
workers = 2
[files]
path = "."
[accesslog]
path = "access.log"
"""


@pytest.fixture
def site(tmp_path):
    """A folder with a configuration for two workers."""
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "pid.rpy").write_text(PAGE.format("os.getpid()"))
    (tmp_path / "slow.rpy").write_text(SLOW)
    (tmp_path / "site.toml").write_text(SITE)
    return tmp_path


@pytest.fixture
def server(twistd, site):
    """A server with two workers."""
    return twistd("--config", "site.toml")


def ask(connection, path="/pid.rpy"):
    """The body of an answer on a connection that stays."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    assert answer.status == 200, body
    return body


def answering(server, tries=40):
    """The processes that answer, by how often each of them did."""
    found = {}
    for _ in range(tries):
        with server.client() as client:
            pid = int(ask(client))
            found[pid] = found.get(pid, 0) + 1
    return found


def workers_of(server):
    """The processes that a server has started."""
    pid = server.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return set(map(int, file.read().split()))


def wait_until(condition, seconds=20):
    """Wait for a condition of the system, which tells nobody when it is met."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    """Whether a process is there, and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_all_answer(server):
    """Both workers answer on one port 0, neither is the process that was started, and the address is printed once."""
    found = answering(server)
    assert len(found) == 2
    assert server.process.pid not in found
    assert server.output.count(server.url) == 1
    assert server.stop() == -signal.SIGTERM
    assert not any(map(is_running, found))


def test_connections_are_spread(server):
    """Of 64 connections that stay each worker gets some."""
    clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(64)]
    for client in clients:
        client.connect()
    pids = [ask(client) for client in clients]
    for client in clients:
        client.close()
    assert len(set(pids)) == 2
    assert min(pids.count(pid) for pid in set(pids)) > 8


def test_killed_worker_under_load(server):
    """A worker that is killed costs each client the request that it held, at most, and is replaced."""
    before = set(answering(server))
    clients = [Load(server.port, keep) for keep in (True, True, True, True, False, False)]
    time.sleep(0.5)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    server.wait_for(rf"worker \d \(process {victim}\) has ended: signal 9")
    server.wait_for(r"Site starting")
    time.sleep(2.5)
    for client in clients:
        client.stop()
    assert all(len(client.failed) <= 1 for client in clients), [client.failed for client in clients]
    assert all(client.answered > 50 for client in clients)
    after = set(answering(server))
    assert len(after) == 2
    assert after & before == before - {victim}


def test_queue_of_a_killed_worker(server):
    """Who waits in the queue of a worker that is killed is answered by the one that takes its place."""
    victim = min(answering(server))
    os.kill(victim, signal.SIGSTOP)
    clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(32)]
    for client in clients:
        client.request("GET", "/pid.rpy")
    time.sleep(0.5)
    os.kill(victim, signal.SIGKILL)
    pids = {client.getresponse().read().decode() for client in clients}
    for client in clients:
        client.close()
    assert len(pids) == 2
    assert str(victim) not in pids


def test_worker_that_is_asked_to_end(server):
    """A worker that gets SIGTERM is replaced before it has given its last answer."""
    with server.client() as slow:
        victim = int(ask(slow))
        slow.request("GET", "/slow.rpy?s=3")
        time.sleep(0.5)
        os.kill(victim, signal.SIGTERM)
        server.wait_for(rf"process {victim}\) was asked to end; another one takes its place")
        wait_until(lambda: len(answering(server)) == 2)
        assert is_running(victim)
        assert slow.getresponse().read() == b"slow"
    wait_until(lambda: not is_running(victim))


def descriptors(pids):
    """How many files are open in each process."""
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in sorted(pids)]


def test_reload_under_load(twistd, site):
    """SIGHUP again and again under load: no request fails, the processes stay, no line of the log and no file is lost."""
    (site / "site.toml").write_text("drain = 1\n" + SITE)
    server = twistd("--config", "site.toml")
    pids = set(answering(server))
    opened = descriptors(pids)
    clients = [Load(server.port, keep) for keep in (True, True, True, True, False)]
    for count in range(1, 8):
        server.send(signal.SIGHUP)
        wait_until(lambda count=count: server.output.count("#info] reloaded") == count)
    for client in clients:
        client.stop()
    assert [client.failed for client in clients] == [[]] * 5
    assert all(client.answered > 50 for client in clients)
    assert set(answering(server)) == pids
    wait_until(lambda: all(now <= before for now, before in zip(descriptors(pids), opened, strict=True)))
    assert server.stop() == -signal.SIGTERM
    logged = (site / "access.log").read_text().splitlines()
    assert len(logged) == 80 + sum(client.answered for client in clients)


def test_reload_takes_what_is_new(server, site, curl):
    """A reload changes all workers, and where they listen; what is wrong is said once and changes nothing."""
    pids = set(answering(server))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    new = f'listen = ["tcp:{port}:interface=127.0.0.1"]\n{SITE}[respond]\nat = "/hi"\nbody = "hi"\n'
    (site / "site.toml").write_text(new)
    server.send(signal.SIGHUP)
    server.wait_for(r"#info\] reloaded")
    assert {curl(f"{server.url}/hi")[2] for _ in range(20)} == {"hi"}
    assert {int(curl(f"http://127.0.0.1:{port}/pid.rpy")[2]) for _ in range(20)} == pids
    for text, said in [
        ("[fils]\n" + new, r"site\.toml:1: unknown key 'fils'; did you mean 'files'\?"),
        (new.replace("workers = 2", "workers = 3"), r"site\.toml:3: workers: there are 2 as long as the server runs"),
        (new + '[class]\nname = "nowhere.Root"\nat = "/c"\n', r"nowhere"),
    ]:
        (site / "site.toml").write_text(text)
        server.send(signal.SIGHUP)
        server.wait_for("not reloaded: .*" + said)
    (site / "site.toml").write_text(SITE)
    server.send(signal.SIGHUP)
    wait_until(lambda: server.output.count("#info] reloaded") == 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert set(answering(server)) == pids


def test_reload_that_cannot_listen(server, site, curl):
    """A reload that wants a port that is taken changes nothing."""
    answering(server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = SITE.replace('port = "0"', f'listen = ["tcp:{port}:interface=127.0.0.1"]')
        (site / "site.toml").write_text(wanted + '[respond]\nat = "/hi"\nbody = "hi"\n')
        server.send(signal.SIGHUP)
        server.wait_for(rf"not reloaded: cannot listen on 127\.0\.0\.1:{port}: address already in use")
    assert curl(f"{server.url}/a.txt")[2] == "hello"
    assert curl(f"{server.url}/hi")[0] == "HTTP/1.1 404 Not Found"


ROOT = """
import os, sys
from twisted.web.resource import Resource

{}

class Root(Resource):
    isLeaf = True
"""


def test_reload_that_one_worker_refuses(server, site):
    """When a worker cannot take what is new, none does."""
    both = sorted(answering(server))
    (site / "later.py").write_text(ROOT.format(f"if os.getpid() == {both[1]}: raise OSError('not me')"))
    (site / "site.toml").write_text(SITE + '[class]\nname = "later.Root"\nat = "/class"\n')
    server.send(signal.SIGHUP)
    server.wait_for(r"not reloaded: worker \d: .*not me")
    for _ in range(20):
        with server.client() as client:
            client.request("GET", "/class")
            assert client.getresponse().status == 404


def test_drain(server):
    """SIGTERM to all processes at once lets the running answers of all workers end, and takes no new connection."""
    answering(server)
    with concurrent.futures.ThreadPoolExecutor(12) as threads:

        def get(_):
            with server.client() as client:
                client.request("GET", "/slow.rpy?s=2")
                answer = client.getresponse()
                return answer.status, answer.read(), answer.getheader("Connection")

        pids = list(answering(server))
        answers = [threads.submit(get, number) for number in range(12)]
        time.sleep(1)
        server.send(signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        server.wait_for("stopping, 12 requests in flight")
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        with server.client() as late, pytest.raises(ConnectionError):
            late.request("GET", "/")
        assert {answer.result() for answer in answers} == {(200, b"slow", "close")}
    assert server.stop(0) == -signal.SIGTERM
    assert server.output.count("stopping, ") == 1
    assert not any(map(is_running, pids))


def test_drain_under_load(server, site):
    """Of the requests that were sent before the end each is answered."""
    answering(server)
    stopped = threading.Event()
    failed = []

    def load(number):
        with server.client() as client:
            while True:
                try:
                    client.connect() if client.sock is None else None
                except ConnectionRefusedError:
                    return
                sent_before = not stopped.is_set()
                try:
                    client.request("GET", "/a.txt")
                    answer = client.getresponse()
                    assert answer.read() == b"hello"
                except (OSError, http.client.HTTPException) as reason:
                    if sent_before:
                        failed.append(repr(reason))
                    client.close()
                    continue
                if number % 2:
                    client.close()

    threads = [threading.Thread(target=load, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    server.send(signal.SIGTERM)
    server.wait_for("Received SIGTERM")
    stopped.set()
    for thread in threads:
        thread.join(20)
    assert server.stop(0) == -signal.SIGTERM
    assert failed == []


def test_second_signal_ends_now(server):
    """A second SIGINT does not wait for anybody."""
    with server.client() as slow:
        pid = int(ask(slow))
        slow.request("GET", "/slow.rpy?s=15")
        time.sleep(0.5)
        server.send(signal.SIGINT)
        server.wait_for("stopping, 1 requests in flight")
        began = time.monotonic()
        server.stop(signal.SIGINT)
        assert time.monotonic() - began < 5
        assert not is_running(pid)


def test_without_the_parent(server, twistd, site):
    """Workers whose parent is killed take no more connections, give their last answers and end."""
    pids = list(answering(server))
    with server.client() as slow:
        slow.request("GET", "/slow.rpy?s=2")
        time.sleep(0.5)
        server.send(signal.SIGKILL)
        server.process.wait(20)

        def refused():
            try:
                socket.create_connection(("127.0.0.1", server.port)).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(refused, 3)
        other = twistd("--config", "site.toml", "--port", server.port)
        assert len(answering(other)) == 2
        assert slow.getresponse().read() == b"slow"
    wait_until(lambda: not any(map(is_running, pids)))


def test_busy_port(server, run, site):
    """A port that is taken, be it by a server with workers, is one line, exit 3, and no worker is started."""
    port = server.port
    answering(server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for busy in (port, taken.getsockname()[1]):
            command = (BIN / "twistd", "-n", "--pidfile=", "web-mix", "--config", "site.toml", "--port", busy)
            status, out, err = run(*command)
            assert status == 3
            assert len(err.splitlines()) == 1
            assert f"cannot listen on 127.0.0.1:{busy}: address already in use; port" in err
            assert "Site starting" not in out


def connected(path):
    """A connection to a unix socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(path))
    return client


def answered(client):
    """The process that answers on a connection."""
    with client, client.makefile("rb") as answer:
        client.sendall(b"GET /pid.rpy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return int(answer.read().rpartition(b"\r\n")[2])


def alone(pid, pids, connect):
    """The process that answers while the other workers are halted."""
    for other in pids - {pid}:
        os.kill(other, signal.SIGSTOP)
    try:
        return answered(connect())
    finally:
        for other in pids - {pid}:
            os.kill(other, signal.SIGCONT)


def test_unix_socket(twistd, site, curl):
    """Workers share a unix socket: each answers, its permissions are those asked for, and it goes with the server."""
    path = site / "s.sock"
    server = twistd("--listen", f"unix:{path}:mode=600", "--config", "site.toml")
    pids = set(answering(server))
    for pid in pids:
        assert alone(pid, pids, partial(connected, path)) == pid
    assert path.stat().st_mode & 0o777 == 0o600
    os.kill(min(pids), signal.SIGKILL)
    wait_until(lambda: len(set(answering(server)) - {min(pids)}) == 2)
    assert path.exists()
    server.stop()
    assert not path.exists()


ACTIVATED = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"}
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_systemd_socket(start, site):
    """Workers share a socket that systemd has opened."""
    (site / "site.toml").write_text(SITE.replace('port = "0"', 'listen = ["systemd:INET:name=web"]'))
    (site / "activate.py").write_text(ACTIVATED)
    server = start(
        sys.executable, "activate.py", BIN / "twistd", "-n", "--pidfile=", "web-mix", "--config", "site.toml"
    )
    server.wait_for(r"#info\] http://")
    pids = workers_of(server)
    assert len(pids) == 2
    for pid in pids:
        assert alone(pid, pids, server.connect) == pid
    assert server.stop() == -signal.SIGTERM


def test_haproxy(twistd, site):
    """Each worker takes the client's address from the PROXY header of a haproxy: listener."""
    (site / "address.rpy").write_text(PAGE.format("request.getClientAddress().host"))
    (site / "site.toml").write_text(SITE.replace('port = "0"', 'listen = ["haproxy:tcp:0:interface=127.0.0.1"]'))
    server = twistd("--config", "site.toml")
    for _ in range(8):
        with server.connect() as client:
            client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
            client.sendall(b"GET /address.rpy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"192.0.2.7")


def test_tls(twistd, site):
    """Each worker reads the certificates, and takes those that a reload names."""
    context = ssl.create_default_context()
    for name in ("a", "b"):
        authority = trustme.CA()
        authority.configure_trust(context)
        authority.issue_cert(f"{name}.example").private_key_and_cert_chain_pem.write_to_path(site / f"{name}.pem")
    config = SITE.replace('port = "0"', 'listen = ["tcp:0:interface=127.0.0.1:tls={}"]')
    (site / "site.toml").write_text(config.format("a.pem"))
    server = twistd("--config", "site.toml")
    url = server.url
    port = int(url.rpartition(":")[2])

    def pids_of(name):
        plain = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(16)]
        return {answered(context.wrap_socket(one, server_hostname=name)) for one in plain}

    assert url.startswith("https://")
    pids = pids_of("a.example")
    assert len(pids) == 2
    (site / "site.toml").write_text(config.format("b.pem"))
    server.send(signal.SIGHUP)
    server.wait_for(r"#info\] reloaded")
    assert pids_of("b.example") == pids
    (site / "b.pem").write_text("broken")
    server.send(signal.SIGHUP)
    server.wait_for(r"not reloaded: .*b\.pem")
    assert pids_of("b.example") == pids


def test_rotated_log(twistd, site):
    """No line is lost of a log that is rotated under load by several workers."""
    (site / "site.toml").write_text(SITE + 'rotate = "size"\nmax_bytes = 3000\nkeep = 500\n')
    server = twistd("--config", "site.toml")
    clients = [Load(server.port, keep) for keep in (True, True, True, True, False)]
    time.sleep(4)
    for client in clients:
        client.stop()
    server.stop()
    files = list(site.glob("access.log*"))
    assert len(files) > 5
    assert sum(len(file.read_text().splitlines()) for file in files) == sum(client.answered for client in clients)
    assert [client.failed for client in clients] == [[]] * 5


LOUD = """
import os
from twisted.web.resource import Resource

class Loud(Resource):
    isLeaf = True

    def render_GET(self, request):
        os.write(2, b"by hand\\n")
        print("printed")
        if request.args:
            raise KeyError("oops")
        return b"loud"

resource = Loud()
"""


def test_log(twistd, site):
    """What workers log, and what they write to standard error, is in the log of the server, with their names."""
    (site / "loud.rpy").write_text(LOUD)
    server = twistd("--port", "0", "--path", ".", "--workers", "2")
    with server.client() as client:
        ask(client, "/loud.rpy")
        client.request("GET", "/loud.rpy?x=1")
        assert client.getresponse().status == 500
    server.wait_for(r'\[mixweb\.access\] "127\.0\.0\.1" .* "GET /loud\.rpy HTTP/1\.1" 200')
    server.wait_for(r"\[worker [12]\] by hand$")
    server.wait_for(r"\[worker [12], stdout#info\] printed$")
    server.wait_for(r"\[worker [12], .*#critical\]")
    server.wait_for(r"KeyError: 'oops'")


def test_worker_that_dies_at_once(twistd, site):
    """A worker that dies as it starts is tried again, each time later, with what it said."""
    (site / "fatal.py").write_text(ROOT.format(r"if sys.argv == ['mixweb']: os.write(2, b'no way\n'); os._exit(7)"))
    server = twistd("--port", "0", "--class", "fatal.Root", "--workers", "1")
    server.wait_for(r"\[worker 1\] no way")
    wait_until(lambda: len(re.findall(r"worker 1 \(process \d+\) has ended: exit status 7", server.output)) > 1)
    assert server.stop() == -signal.SIGTERM


def test_worker_that_cannot_serve(twistd, site):
    """A worker that finds something wrong says what it is."""
    (site / "picky.py").write_text(ROOT.format("if sys.argv == ['mixweb']: raise OSError('not here')"))
    server = twistd("--port", "0", "--class", "picky.Root", "--workers", "1")
    server.wait_for(r"worker 1 cannot serve: .*not here")
    server.wait_for(r"worker 1 \(process \d+\) has ended: exit status 0")
    assert server.stop() == -signal.SIGTERM


def test_check(mixweb, site):
    """mixweb check takes what workers can serve, and says what they cannot."""
    assert mixweb("check")[0] == 0
    for text, said in [
        ('workers = 2\nlisten = ["ssl:8443"]\n', "site.toml:2: cannot listen on 'ssl:8443' with workers: "),
        ("workers = -1\n", "site.toml:1: workers must not be negative"),
    ]:
        (site / "site.toml").write_text(text)
        status, _, err = mixweb("check")
        assert status == 4
        assert err.startswith(said)


def test_from_python(start, site):
    """A .tac with workers serves what its settings say, virtual hosts and wrappers too."""
    (site / "site.tac").write_text(
        "from mixweb import Files, Headers, Host, Respond\nfrom mixweb import application as make\n"
        "application = make(port='0', workers=2, default=Host(Files('.'), Headers(set=['X-A: 1'])),\n"
        "    hosts=[Host('b.example', 'c.example', Respond('$x \"{{b}}\"'))])\n"
    )
    server = start(BIN / "twistd", "-n", "--pidfile=", "-y", "site.tac")
    assert len(answering(server)) == 2
    with server.client() as client:
        client.request("GET", "/a.txt")
        answer = client.getresponse()
        assert (answer.read(), answer.getheader("X-A")) == (b"hello", "1")
        client.request("GET", "/", headers={"Host": "c.example"})
        assert client.getresponse().read() == b'$x "{b}"'


def test_daemon(run, site):
    """twistd without -n goes to the background with its workers, and takes them along."""
    (site / "site.toml").write_text(SITE.replace('port = "0"', 'listen = ["unix:site.sock"]'))
    status, out, err = run(BIN / "twistd", "web-mix", "--config", "site.toml")
    assert status == 0, out + err
    pid = int((site / "twistd.pid").read_text())

    worker = answered(connected(site / "site.sock"))
    assert worker != pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (site / "twistd.pid").exists() and not is_running(worker))


def test_the_mixweb_command(start, site):
    """mixweb --workers gives its workers the reactor that it runs on."""
    (site / "reactor.rpy").write_text(PAGE.format("type(sys.modules['twisted.internet.reactor']).__name__"))
    for reactor, name in (((), "MixwebReactor"), (("--reactor=asyncio",), "AsyncioSelectorReactor")):
        command = (BIN / "twistd", *reactor, "-n", "--pidfile=", "web-mix") if reactor else (BIN / "mixweb",)
        server = start(*command, "--port", "0", "--workers", "1", "--path", ".")
        with server.client() as client:
            assert ask(client, "/reactor.rpy") == name
        server.stop()
