"""
The lab as people use httpbin: with the libraries requests and httpx, over HTTP/1.1 and HTTP/2.
"""

import json
import socket
import struct
import time
from contextlib import suppress

import h2.exceptions
import httpx
import pytest
import requests
import trustme
from requests.auth import HTTPDigestAuth

from tests.wire.conftest import BIN, Running, environment

SECONDS = 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a lab."""
    command = [BIN / "twistd", "-n", "--pidfile=", "web-mix", "--lab", "--port", "0"]
    server = Running(command, tmp_path_factory.mktemp("lab"), environment())
    yield server.url + "/lab"
    server.stop()
    server.reader.join(SECONDS)
    server.process.stdout.close()
    assert "Traceback" not in server.output


@pytest.fixture
def session():
    """A session of requests."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.fixture
def client():
    """A client of httpx."""
    with httpx.Client(timeout=SECONDS, trust_env=False) as made:
        yield made


@pytest.fixture
def secure(twistd, tmp_path):
    """The address of a lab and a folder over TLS, and a client of httpx that speaks HTTP/2 to it."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "localhost.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "big").write_bytes(b"x" * 3_000_000)
    server = twistd(
        "--https", "18449", "--certificate", "localhost.pem", "--lab", "--files", "site", "--faults-override"
    )  # fmt: skip
    server.wait_for("https://")
    context = httpx.create_ssl_context(trust_env=False)
    context.load_verify_locations(tmp_path / "ca.pem")
    with httpx.Client(http2=True, verify=context, timeout=SECONDS, trust_env=False) as made:
        yield "https://localhost:18449", made
    assert "Traceback" not in server.output


def test_requests_shown(lab, session):
    """What requests sends is shown: arguments, headers, forms, files, JSON, bodies in chunks."""
    found = session.get(f"{lab}/get", params={"a": ["1", "2"], "b": "ü"}, headers={"X-A": "1"}).json()
    assert found["args"] == {"a": ["1", "2"], "b": "ü"}
    assert found["headers"]["X-A"] == "1"
    assert found["headers"]["User-Agent"].startswith("python-requests/")
    assert found["url"] == f"{lab}/get?a=1&a=2&b=%C3%BC"
    assert found["origin"] == "127.0.0.1"
    found = session.post(f"{lab}/post", data={"a": "1", "b": "ü&="}).json()
    assert (found["form"], found["data"], found["json"]) == ({"a": "1", "b": "ü&="}, "", None)
    found = session.put(f"{lab}/put", json={"a": [1, None]}).json()
    assert (found["json"], found["headers"]["Content-Type"]) == ({"a": [1, None]}, "application/json")
    files = {"f": ("x.txt", b"text"), "g": ("x.png", b"\x89PNG", "image/png")}
    found = session.patch(f"{lab}/patch", files=files, data={"a": "1"}).json()
    assert found["files"] == {"f": "text", "g": "data:image/png;base64,iVBORw=="}
    assert found["form"] == {"a": "1"}
    found = session.delete(f"{lab}/anything/x", data=iter([b"one ", b"two"])).json()
    assert (found["data"], found["method"]) == ("one two", "DELETE")


def test_httpx_shown(lab, client):
    """What httpx sends is shown too."""
    found = client.post(f"{lab}/post", data={"a": ["1", "2"]}, files={"f": b"text"}).json()
    assert (found["form"], found["files"]) == ({"a": ["1", "2"]}, {"f": "text"})
    assert client.post(f"{lab}/anything", content=iter([b"a", b"b"])).json()["data"] == "ab"
    assert client.get(f"{lab}/user-agent").json()["user-agent"].startswith("python-httpx/")


def test_too_much(lab, session):
    """A body that is too long to be shown is 413, and says which setting allows more."""
    answer = session.post(f"{lab}/post", data=b"x" * 300_000)
    assert answer.status_code == 413
    assert "max_body_bytes" in answer.text


def test_cookies(lab, session, client):
    """Cookies are kept between the requests of a session, and deleted."""
    for user in (session, client):
        options = {"follow_redirects": True} if user is client else {}
        assert user.get(f"{lab}/cookies/set?a=1&b=2", **options).json() == {"cookies": {"a": "1", "b": "2"}}
        assert user.get(f"{lab}/cookies/set/c/3", **options).json()["cookies"]["c"] == "3"
        assert user.get(f"{lab}/cookies/delete?a&c", **options).json() == {"cookies": {"b": "2"}}


def test_redirects(lab, session, client):
    """Redirects are followed as often as there are any; what is too many is an error of the client."""
    answer = session.get(f"{lab}/redirect/5")
    assert (answer.status_code, len(answer.history), answer.url) == (200, 5, f"{lab}/get")
    assert session.get(f"{lab}/absolute-redirect/3").url == f"{lab}/get"
    assert session.get(f"{lab}/status/301").url == f"{lab}/get"
    with pytest.raises(requests.TooManyRedirects):
        session.get(f"{lab}/redirect/31")
    with pytest.raises(httpx.TooManyRedirects):
        client.get(f"{lab}/relative-redirect/21", follow_redirects=True)
    answer = session.post(f"{lab}/redirect-to?url={lab}/anything&status_code=307", data="kept")
    assert (answer.json()["method"], answer.json()["data"]) == ("POST", "kept")
    answer = session.post(f"{lab}/redirect-to?url=anything&status_code=303", data="lost")
    assert (answer.json()["method"], answer.json()["data"]) == ("GET", "")


@pytest.mark.parametrize("path", ["auth/u/p", "auth/u/p/SHA-256", "auth/u/p/SHA-512", "none/u/p"])
def test_digest(path, lab, session, client):
    """Both libraries log in by digest."""
    url = f"{lab}/digest-auth/{path}"
    assert session.get(url).status_code == 401
    assert session.get(url, auth=HTTPDigestAuth("u", "p")).json() == {"authenticated": True, "user": "u"}
    assert session.get(url, auth=HTTPDigestAuth("u", "x")).status_code == 401
    assert client.get(url, auth=httpx.DigestAuth("u", "p")).json() == {"authenticated": True, "user": "u"}
    assert client.get(url, auth=httpx.DigestAuth("u", "x")).status_code == 401


def test_stale_digest(lab, session):
    """A client takes a new nonce when the old one is stale."""
    auth, url = HTTPDigestAuth("u", "p"), f"{lab}/digest-auth/auth/u/p/MD5/2"
    seen = [len(session.get(url, auth=auth).history) for _ in range(5)]
    assert seen == [1, 0, 1, 0, 1]


def test_logins(lab, session, client):
    """Names, passwords and tokens let in."""
    for user in (session, client):
        assert user.get(f"{lab}/basic-auth/u/p", auth=("u", "p")).json() == {"authenticated": True, "user": "u"}
        assert user.get(f"{lab}/basic-auth/u/p", auth=("u", "x")).status_code == 401
        assert user.get(f"{lab}/hidden-basic-auth/u/p").status_code == 404
        assert user.get(f"{lab}/bearer", headers={"Authorization": "Bearer t"}).json()["token"] == "t"


@pytest.mark.parametrize(
    ("path", "name"), [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli"), ("zstd", "zstd")]
)
def test_codings(path, name, lab, session):
    """Content codings are undone by the client."""
    answer = session.get(f"{lab}/{path}")
    assert answer.json()[name] is True
    assert "Content-Encoding" in answer.headers


def test_statuses(lab, session):
    """Statuses are those asked for, with and without keeping the connection."""
    for code in (200, 204, 304, 404, 418, 429, 500, 503):
        assert session.get(f"{lab}/status/{code}").status_code == code
        assert session.post(f"{lab}/status/{code}", data="x").status_code == code
    with pytest.raises(requests.HTTPError):
        session.get(f"{lab}/status/500").raise_for_status()


def test_retries(lab, session):
    """A client that tries again gets through sooner or later."""
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session.mount("http://", HTTPAdapter(max_retries=Retry(total=200, status_forcelist=[503], backoff_factor=0)))
    assert session.get(f"{lab}/status/200:1,503:3").status_code == 200


def test_conditional(lab, session):
    """Entity tags, caching and ranges."""
    assert session.get(f"{lab}/etag/a", headers={"If-None-Match": '"a"'}).status_code == 304
    assert session.get(f"{lab}/etag/a", headers={"If-Match": '"b"'}).status_code == 412
    first = session.get(f"{lab}/cache")
    again = session.get(f"{lab}/cache", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    part = session.get(f"{lab}/range/1024", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "klmnopqrst", "bytes 10-19/1024")


def test_streams(lab, session, client):
    """Streams arrive piece by piece."""
    with session.get(f"{lab}/stream/20", stream=True) as answer:
        assert [json.loads(line)["id"] for line in answer.iter_lines()] == list(range(20))
    with client.stream("GET", f"{lab}/stream-bytes/100000?seed=1&chunk_size=1000") as answer:
        streamed = b"".join(answer.iter_raw())
    assert len(streamed) == 100_000
    assert len(session.get(f"{lab}/bytes/5000000").content) == 5_000_000


def test_drip(lab, session):
    """A drip takes its time from the first byte to the last."""
    with session.get(f"{lab}/drip?duration=1&numbytes=5&code=202", stream=True) as answer:
        begun = time.monotonic()
        arrived = [time.monotonic() - begun for _ in answer.iter_content(1)]
    assert answer.status_code == 202
    assert len(arrived) == 5
    assert arrived[0] + 0.4 < arrived[-1]


def test_timeouts(lab, session, client):
    """A client that waits no longer gives up, and the server goes on."""
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{lab}/delay/10", timeout=0.3)
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{lab}/slow-headers/10", timeout=0.3)
    assert session.get(f"{lab}/delay/0.2", timeout=SECONDS).json()["url"] == f"{lab}/delay/0.2"


def test_faults(lab, session, client):
    """Clients notice answers that break."""
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        session.get(f"{lab}/reset")
    with pytest.raises(httpx.ReadError):
        client.get(f"{lab}/reset")
    for path in ("truncate/1000", "wrong-length/10"):
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            session.get(f"{lab}/{path}")
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            client.get(f"{lab}/{path}")
    assert session.get(f"{lab}/wrong-length/-10", headers={"Connection": "close"}).text == "abcdefghijklmnop"
    assert session.get(f"{lab}/slow-headers/0.5").json() == {"seconds": 0.5}


def test_http2(secure):
    """All of it works over HTTP/2; what breaks there is one stream."""
    address, client = secure
    lab = f"{address}/lab"
    found = client.post(f"{lab}/anything?a=1", json={"b": 2})
    assert found.http_version == "HTTP/2"
    assert (found.json()["url"], found.json()["json"]) == (f"{lab}/anything?a=1", {"b": 2})
    assert client.get(f"{lab}/redirect/3", follow_redirects=True).json()["url"] == f"{lab}/get"
    assert client.get(f"{lab}/cookies/set/a/1").headers["Set-Cookie"] == "a=1; Path=/; Secure"
    assert client.get(f"{lab}/slow-headers/0.2").json() == {"seconds": 0.2}
    assert len(client.get(f"{lab}/stream-bytes/300000").content) == 300_000
    assert len(client.get(f"{lab}/drip?duration=0.3&numbytes=100").content) == 100
    for path in ("lab/reset", "lab/truncate/1000", "big?mix.fault=reset", "big?mix.fault=truncate",
                 "lab/stream/50?mix.fault=truncate", "lab/drip?numbytes=50&mix.fault=truncate"):  # fmt: skip
        with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
            client.get(f"{address}/{path}")
        assert len(client.get(f"{address}/big").content) == 3_000_000
    with pytest.raises((httpx.HTTPError, h2.exceptions.InvalidBodyLengthError)):
        client.get(f"{address}/big?mix.fault=length")


@pytest.fixture
def folder(twistd, tmp_path):
    """The port of a server of files whose answers a request may break."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "big").write_bytes(b"x" * 3_000_000)
    return twistd("--files", "site", "--faults-override", "--port", "0")


@pytest.mark.parametrize(
    ("query", "declared", "sent", "reset"),
    [
        ("mix.fault=truncate", 3_000_000, 1_500_000, False),
        ("mix.fault=length", 3_000_001, 3_000_000, False),
        ("mix.fault=reset", None, 0, True),
        ("mix.delay=0", 3_000_000, 3_000_000, False),
    ],
)
def test_faults_of_files(query, declared, sent, reset, folder):
    """The answers of other features break too, in the middle of what the kernel sends as well."""
    with folder.connect() as connection:
        connection.sendall(f"GET /big?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        try:
            while data := connection.recv(1_000_000):
                received += data
        except ConnectionResetError:
            assert reset
    head, _, body = received.partition(b"\r\n\r\n")
    assert len(body) == sent
    assert reset or f"Content-Length: {declared}".encode() in head.split(b"\r\n")
    assert bool(head) is not reset


def test_delay_of_files(folder, session):
    """An answer comes as late as was asked for, and others do not wait for it."""
    begun = time.monotonic()
    with folder.connect() as connection:
        connection.sendall(b"GET /big?mix.delay=4 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert len(session.get(f"{folder.url}/big").content) == 3_000_000
        assert time.monotonic() - begun < 3.5
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert time.monotonic() - begun >= 3.99


def test_clients_that_leave(twistd, session):
    """Clients that leave in the middle of anything leave nothing in the log, and the server goes on."""
    server = twistd("--lab", "--port", "0")
    lab = server.url + "/lab"
    for path in ("drip?duration=9", "bytes/9000000", "delay/9", "slow-headers/9", "stream-bytes/9000000", "truncate/9"):
        for _ in range(5):
            connection = server.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"GET /lab/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.settimeout(0.05)
            with connection, suppress(OSError):
                connection.recv(1000)
    assert session.get(f"{lab}/get").status_code == 200
    for said in ("Traceback", "Unhandled", "not unregistered"):
        assert said not in server.output
