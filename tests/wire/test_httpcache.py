"""
The cache in front of a real server, with nginx's beside it: the same questions, and why the answers differ where they do.
"""

import http.client
import socket
import threading
from contextlib import closing
from urllib.parse import quote

import pytest

NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  proxy_cache_path {folder}/kept keys_zone=kept:1m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {origin}; proxy_cache kept; proxy_cache_key $request_uri; proxy_cache_revalidate on; proxy_cache_lock on;
      proxy_cache_use_stale updating; proxy_cache_background_update on;
    }}
  }}
}}
"""


@pytest.fixture
def beside(origin, start, program, tmp_path):
    """The port of an nginx with a cache in front of the same server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, origin=origin, port=port))
    start(program("nginx"), "-p", tmp_path, "-c", "nginx.conf")
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            threading.Event().wait(0.05)
        else:
            return port
    raise AssertionError("nginx does not answer")


def ask(port, target, method="GET", **fields):
    """Status and body of an answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request(method, target, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = client.getresponse()
        return answer.status, answer.read().decode()


def said(**fields):
    """A query that has the origin say these fields."""
    return "&".join(f"{name.replace('_', '-')}={quote(value, safe='')}" for name, value in fields.items())


FRESH, TAG = {"Cache_Control": "max-age=60"}, {"ETag": '"1"'}

#: What the origin says, the requests (method and fields; a number is seconds to wait), and which of them it answers, as
#: this cache has it and as nginx has it; with the reason where they differ.
QUESTIONS = [
    (FRESH, ["GET", "GET"], "y.", "y.", ""),
    ({}, ["GET", "GET"], "yy", "yy", ""),
    ({"Cache_Control": "s-maxage=60, max-age=0"}, ["GET", "GET"], "y.", "y.", ""),
    ({"Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}, ["GET", "GET"], "y.", "y.", ""),
    ({"Expires": "0"}, ["GET", "GET"], "yy", "yy", ""),
    ({"Cache_Control": "private, max-age=60"}, ["GET", "GET"], "yy", "yy", ""),
    ({"Cache_Control": "no-store, max-age=60"}, ["GET", "GET"], "yy", "yy", ""),
    ({**FRESH, "Set_Cookie": "a=b"}, ["GET", "GET"], "yy", "yy", ""),
    ({**FRESH, "Vary": "*"}, ["GET", "GET"], "yy", "yy", ""),
    ({**FRESH, "Vary": "X-A"}, [{"X_A": "1"}, {"X_A": "1"}, {"X_A": "2"}, {"X_A": "1"}], "y.y.", "y.y.", ""),
    ({**FRESH, "status": "404"}, ["GET", "GET"], "y.", "y.", ""),
    (FRESH, ["GET", "HEAD"], "y.", "y.", ""),
    (FRESH, ["HEAD", "GET"], "yy", "y.", "nginx asks with GET for what is asked for with HEAD"),
    (FRESH, ["POST", "POST"], "yy", "yy", ""),
    (FRESH, ["GET", "POST", "GET"], "yyy", "yy.", "nginx does not forget what POST has changed (RFC 9111, 4.4: MUST)"),
    (FRESH, [{"Authorization": "Basic eDp5"}, "GET"], "yy", "y.", "nginx stores what was for one user (3.5: MUST NOT)"),
    ({"Cache_Control": "public, max-age=60"}, [{"Authorization": "Basic eDp5"}, "GET"], "y.", "y.", ""),
    (FRESH, ["GET", {"Cache_Control": "no-cache"}], "yy", "y.", "nginx does not obey requests (it may: 5.2.1)"),
    (FRESH, [{"Cache_Control": "no-store"}, "GET"], "yy", "y.", "nginx stores what is not to be stored (5.2.1.5: MUST NOT)"),
    ({**FRESH, "Age": "100"}, ["GET", "GET"], "yy", "y.", "nginx takes no notice of Age (4.2.3)"),
    ({"Cache_Control": "no-cache", **TAG}, ["GET", "GET"], "yv", "yy", "nginx does not store what it would have to validate"),
    ({"Cache_Control": "max-age=1", **TAG}, ["GET", 2, "GET", "GET"], "yv.", "yv.", ""),
    ({"Cache_Control": "max-age=1, stale-while-revalidate=60"}, ["GET", 2, "GET", 1], "y.", "y.", ""),
    ({**FRESH, "Cache_Control": "max-age=60, must-revalidate"}, ["GET", "GET"], "y.", "y.", ""),
    ({**FRESH, **TAG}, ["GET", {"If_None_Match": '"1"'}], "y.", "y.", ""),
    (FRESH, [{"Range": "bytes=0-0"}, "GET"], "yy", "y.", "nginx asks for all of what a part is asked of"),
]  # fmt: skip


def play(port, name, fields, steps):
    """Which requests the origin answered (y), or confirmed (v), and which it did not see (.)."""
    target, found, last = f"/said/{name}?{said(**fields)}", "", 0
    for step in steps:
        if isinstance(step, int):
            threading.Event().wait(step)
            continue
        method, asked = (step, {}) if isinstance(step, str) else ("GET", step)
        _, body = ask(port, target, method, **asked)
        count = int(body) if body else last
        if method == "HEAD" and not last:
            count = 1
        found += "y" if count > last else "."
        last = max(count, last)
    return found


def counted(origin_port, name):
    """How often the origin was asked."""
    return int(ask(origin_port, f"/said/{name}")[1]) - 1


def test_beside_nginx(origin, beside, twistd):
    """The same questions to both caches have the answers that RFC 9111 wants of this one."""
    server = twistd("--proxy", origin, "--httpcache", "--port", "0")
    origin_port = int(origin.rpartition(":")[2])
    for number, (fields, steps, ours, nginxs, reason) in enumerate(QUESTIONS):
        found = {}
        for who, port in (("ours", server.port), ("nginx", beside)):
            name = f"{who}{number}"
            seen = play(port, name, fields, steps)
            # A confirmation is one that the origin counts and the client does not see.
            more = counted(origin_port, name) - seen.count("y")
            found[who] = seen, more
        assert found == {
            "ours": (ours.replace("v", "."), ours.count("v") + ("stale-while" in str(fields))),
            "nginx": (nginxs.replace("v", "."), nginxs.count("v") + ("stale-while" in str(fields))),
        }, (fields, steps, reason)
        assert (ours == nginxs) is (reason == "")


def test_kept_over_a_restart(origin, twistd, tmp_path):
    """Answers in a store survive a restart, and workers share them."""
    options = ["--proxy", origin, "--httpcache-keep", "--httpcache-store", f"sqlite:{tmp_path}/kept.db", "--port", "0"]
    target = f"/said/kept?{said(**FRESH)}"
    for more in ([], ["--workers", "2"]):
        server = twistd(*options, *more)
        assert [ask(server.port, target, Host="kept.example") for _ in range(6)] == [(200, "1")] * 6
        server.stop()


def test_stampede(origin, twistd, tmp_path):
    """A hundred clients that come at once for a slow page have the origin make it once."""
    server = twistd("--proxy", origin, "--httpcache", "--httpcache-default-ttl", "60", "--port", "0")
    found = []
    threads = [threading.Thread(target=lambda: found.append(ask(server.port, "/slow"))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [(200, "slow")] * 100
    assert (tmp_path / "origin.log").read_text().count("GET /slow ") == 1
