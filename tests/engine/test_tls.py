"""
Certificates: which are read, which is chosen, and what happens when files change.
"""

import os
import re
import shutil
import ssl
import threading
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import pytest_twisted
import trustme
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from mixweb.engine import _pem
from mixweb.engine.tls import CertificateService, CertificateStore, Source, by_name, choose, load, server_context

AUTHORITY = trustme.CA()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def logged():
    """Warnings and what is worse, as text."""
    lines = []

    def observe(event):
        if event.get("log_level") in (LogLevel.warn, LogLevel.error, LogLevel.critical):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def issue(*names, ends=None, begins=None):
    """A certificate for some names."""
    return AUTHORITY.issue_cert(*names, not_after=ends, not_before=begins)


def chain_of(certificate):
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems) + AUTHORITY.cert_pem.bytes()


SECONDS = count(1_700_000_000)


def put(path, *contents):
    """Write a file, with a modification time that no other file has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(contents))
    now = next(SECONDS)
    os.utime(path, (now, now))
    return str(path)


def put_pair(folder, certificate):
    """certbot's files."""
    leaf = certificate.cert_chain_pems[0].bytes()
    put(folder / "privkey.pem", certificate.private_key_pem.bytes())
    put(folder / "cert.pem", leaf)
    put(folder / "chain.pem", AUTHORITY.cert_pem.bytes())
    return put(folder / "fullchain.pem", leaf, AUTHORITY.cert_pem.bytes())


def put_combined(path, certificate):
    """Key and chain in one file."""
    return put(path, certificate.private_key_pem.bytes(), chain_of(certificate))


def shake_hands(store, name, alpn=("h2", "http/1.1"), session=None, client=None):
    """The client's side of a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    if client is None:
        client = ssl.create_default_context()
        client.check_hostname = False
        AUTHORITY.configure_trust(client)
        client.set_alpn_protocols(list(alpn))
    ours = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    theirs = store.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
        except ssl.SSLError:
            if side is theirs:
                ours.do_handshake()  # tells what the alert was
            raise
    theirs.write(b"x")
    assert ours.read(1) == b"x"
    return ours


def served(store, name):
    """The first name of the certificate that a client gets, or the reason why it gets none."""
    try:
        peer = shake_hands(store, name).getpeercert()
    except ssl.SSLError as error:
        return error.reason
    return peer["subjectAltName"][0][1]


# Reading


def test_one_file(tmp_path):
    """A certificate with its key in the same file is served."""
    store = CertificateStore(Source(put_combined(tmp_path / "both.pem", issue("a.example"))))
    assert served(store, "a.example") == "a.example"
    assert [certificate.names for certificate in store.certificates] == [("a.example",)]


def test_two_files(tmp_path):
    """A certificate with its key in another file is served, with its whole chain."""
    certificate = issue("a.example")
    path = put(tmp_path / "chain.pem", chain_of(certificate))
    store = CertificateStore(Source(path, put(tmp_path / "key.pem", certificate.private_key_pem.bytes())))
    assert served(store, None) == "a.example"


@pytest.mark.parametrize("names", [["Some.Example", "*.Wild.example"], ["xn--bcher-kva.example"]])
def test_names_are_those_of_the_certificate(tmp_path, names):
    """The names come from the subjectAltName, in lower case."""
    path = put_combined(tmp_path / "both.pem", issue(*names))
    assert load(path, path).names == tuple(name.lower() for name in names)


def test_a_folder(tmp_path):
    """All of a folder is served: combined files, pairs in one folder, and certbot's folders with their full chain."""
    put_combined(tmp_path / "a.pem", issue("a.example"))
    apart = issue("b.example")
    put(tmp_path / "b-cert.crt", chain_of(apart))
    put(tmp_path / "z-key.key", apart.private_key_pem.bytes())
    full = put_pair(tmp_path / "c.example", issue("c.example", "*.c.example"))
    put(tmp_path / "README", b"not looked at")
    put(tmp_path / "dhparams.pem", b"-----BEGIN DH PARAMETERS-----\nMIIB\n-----END DH PARAMETERS-----\n")
    put_combined(tmp_path / "too" / "deep" / "d.pem", issue("d.example"))
    store = CertificateStore(Source(str(tmp_path)))
    for name in ("a.example", "b.example", "c.example"):
        assert served(store, name) == name
    assert [certificate.path for certificate in store.certificates][-1] == full
    assert served(store, "d.example") == "a.example"


def test_links_are_followed(tmp_path):
    """certbot's files are symbolic links into an archive."""
    put_pair(tmp_path / "archive", issue("a.example"))
    live = tmp_path / "live" / "a.example"
    live.mkdir(parents=True)
    for name in ("privkey.pem", "fullchain.pem"):
        (live / name).symlink_to(tmp_path / "archive" / name)
    assert served(CertificateStore(Source(str(tmp_path / "live"))), "a.example") == "a.example"


def rsa_key(password=None, kind="PKCS8"):
    key = serialization.load_pem_private_key(issue("a.example").private_key_pem.bytes(), None)
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, kind), how)


BROKEN = {
    "no file": (None, None, "there is no file '{cert}'"),
    "no key file": ("chain", None, "there is no file '{key}'"),
    "an empty file": (b"", "key", "'{cert}' holds no certificate"),
    "no key in the file": ("chain", "chain", "'{key}' holds no private key"),
    "half a certificate": ("half", "key", "the certificate in '{cert}' is broken: "),
    "half a key": ("chain", "half key", "'{key}' holds no private key"),
    "a broken key": ("chain", "broken key", "the private key in '{key}' is broken: "),
    "another key": ("chain", "other key", "the private key in '{key}' does not match the certificate in '{cert}'"),
    "an encrypted key": ("chain", "encrypted", "the private key in '{key}' is encrypted: "),
    "an encrypted old key": ("chain", "encrypted old", "the private key in '{key}' is encrypted: "),
    "not what OpenSSL reads": ("hidden", "key", "the certificate in '{cert}' with the key in '{key}' cannot be used: "),
    "much too large": (b"x" * (_pem.MAX_BYTES + 1), "key", "'{cert}' is larger than 1048576 bytes"),
}


@pytest.mark.parametrize(("certificate", "key", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_used(tmp_path, certificate, key, sentence):
    """What is wrong with a certificate or its key is said in a sentence that names the file."""
    pair = issue("a.example")
    private = pair.private_key_pem.bytes()
    contents = {
        "chain": chain_of(pair),
        "half": chain_of(pair)[:400],
        "hidden": issue("b.example").cert_chain_pems[0].bytes().replace(b" CERT", b" TRUSTED CERT") + chain_of(pair),
        "key": private,
        "half key": private[:100],
        "broken key": b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
        "other key": issue("b.example").private_key_pem.bytes(),
        "encrypted": rsa_key(b"secret"),
        "encrypted old": rsa_key(b"secret", "TraditionalOpenSSL"),
    }
    paths = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    for name, what in (("cert", certificate), ("key", key)):
        if what is not None:
            put(tmp_path / f"{name}.pem", contents.get(what, what))
    with pytest.raises(ValueError, match="^" + re.escape(sentence.format(**paths))):
        CertificateStore(Source(paths["cert"], paths["key"]))


def test_what_cannot_be_used_in_a_folder(tmp_path):
    """A folder without any certificate, or with a key file given too, is refused."""
    with pytest.raises(ValueError, match="there is no certificate with its private key in the folder"):
        CertificateStore(Source(str(tmp_path)))
    with pytest.raises(ValueError, match=r"is a folder: keys are found in it, 'key\.pem' is not needed"):
        CertificateStore(Source(str(tmp_path), "key.pem"))
    broken = put(tmp_path / "broken.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match=f"the certificate in '{broken}' is broken"):
        CertificateStore(Source(str(tmp_path)))


@pytest.mark.parametrize(
    ("path", "sentence"), [("/dev/null", "is not a file"), ("/dev/null/x.pem", "cannot be read: Not a directory")]
)
def test_a_device_is_no_certificate(path, sentence):
    """What is no regular file is not opened."""
    with pytest.raises(ValueError, match=f"^'{path}' {sentence}"):
        CertificateStore(Source(path))


def test_a_broken_file_beside_good_ones(tmp_path, logged):
    """One broken file in a folder costs a warning, not the others."""
    put_combined(tmp_path / "a.pem", issue("a.example"))
    broken = put(tmp_path / "b.pem", rsa_key(b"secret"))
    store = CertificateStore(Source(str(tmp_path)))
    store.refresh()
    assert served(store, "a.example") == "a.example"
    assert len(logged) == 1
    assert logged[0].startswith(f"the private key in '{broken}' is encrypted")
    assert logged[0].endswith("it is not used")


# Choosing


CHOICES = [
    ("a.example", "a"),
    ("A.Example", "a"),
    ("a.example.", "a"),
    ("www.wild.example", "wild"),
    ("WWW.wild.example", "wild"),
    ("exact.wild.example", "exact"),
    ("wild.example", None),
    ("a.b.wild.example", None),
    ("*.wild.example", "wild"),
    ("other.example", None),
    (".wild.example", "wild"),
    ("example", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("name", "expected"), CHOICES)
def test_choose(name, expected):
    """An exact name wins over a wildcard for one label; case and a trailing dot do not count."""
    names = {"a.example": "a", "*.wild.example": "wild", "exact.wild.example": "exact"}
    assert choose(names, name) == expected


class Dated:
    """A certificate of which only names and dates matter."""

    def __init__(self, begins, ends, *names):
        self.not_before = NOW + timedelta(days=begins)
        self.not_after = NOW + timedelta(days=ends)
        self.names = names


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ((-10, 10), (-5, 20), 1),
        ((-5, 20), (-10, 10), 0),
        ((-10, 10), (5, 90), 0),
        ((-90, -5), (-10, 1), 1),
        ((-90, -5), (-80, -1), 1),
    ],
    ids=["longer", "shorter", "not yet valid", "expired", "both expired"],
)
def test_two_certificates_for_a_name(first, second, best):
    """Of two certificates the valid one is taken, then the one that is valid longer."""
    certificates = [Dated(*first, "a.example"), Dated(*second, "a.example")]
    assert by_name(certificates, NOW) == {"a.example": certificates[best]}


@pytest.mark.parametrize(
    ("strict", "name", "expected"),
    [
        (False, "b.example", "b.example"),
        (False, "other.example", "a.example"),
        (False, None, "a.example"),
        (True, "b.example", "b.example"),
        (True, "other.example", "TLSV1_UNRECOGNIZED_NAME"),
        (True, None, "TLSV1_UNRECOGNIZED_NAME"),
    ],
)
def test_unknown_names(tmp_path, strict, name, expected):
    """An unknown name, or none, gets the certificate of the first file, or is refused where names are strict."""
    put_combined(tmp_path / "1.pem", issue("a.example"))
    put_combined(tmp_path / "2.pem", issue("b.example"))
    assert served(CertificateStore(Source(str(tmp_path)), strict_sni=strict), name) == expected


# The context


@pytest.fixture
def store(tmp_path):
    return CertificateStore(Source(put_combined(tmp_path / "both.pem", issue("a.example"))))


def test_suites():
    """Only forward secret AEAD suites and TLS 1.2 or later; no renegotiation, no compression."""
    context = server_context()
    suites = {suite["name"] for suite in context.get_ciphers()}
    assert suites == {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    }
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_groups(monkeypatch):
    """Where the groups of the key exchange can be chosen, they are those of Mozilla's recommendation."""
    chosen = []
    monkeypatch.setattr(ssl.SSLContext, "set_groups", lambda self, groups: chosen.append(groups), raising=False)
    server_context()
    assert chosen == ["X25519:prime256v1:secp384r1"]


@pytest.mark.parametrize(
    ("http2", "offered", "agreed"),
    [
        (True, ["h2", "http/1.1"], "h2"),
        (True, ["http/1.1", "h2"], "h2"),
        (True, ["http/1.1"], "http/1.1"),
        (True, ["other"], None),
        (False, ["h2", "http/1.1"], "http/1.1"),
        (False, ["h2"], None),
    ],
)
def test_alpn(tmp_path, http2, offered, agreed):
    """HTTP/2 is preferred where it is offered and not switched off."""
    path = put_combined(tmp_path / "both.pem", issue("a.example"))
    store = CertificateStore(Source(path), http2=http2)
    assert shake_hands(store, "a.example", alpn=offered).selected_alpn_protocol() == agreed


def test_tls_1_1_is_refused(store):
    """A client that knows nothing newer than TLS 1.1 is refused."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError) as caught:
        shake_hands(store, "a.example", client=client)
    assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_survive_a_new_certificate(tmp_path, version):
    """A client resumes its session, also when the certificate has been renewed meanwhile."""
    path = tmp_path / "both.pem"
    put_combined(path, issue("a.example"))
    store = CertificateStore(Source(str(path)))
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    client.maximum_version = version
    first = shake_hands(store, "a.example", client=client)
    put_combined(path, issue("a.example"))
    assert store.refresh() == {}
    assert shake_hands(store, "a.example", client=client, session=first.session).session_reused


# Changing


def serial(store, name="a.example"):
    return store.choose(name).fingerprint


def test_a_new_certificate_is_read(tmp_path, logged):
    """A renewed certificate is served after the next look; what has not changed is not read again."""
    put_combined(tmp_path / "a.pem", issue("a.example"))
    put_combined(tmp_path / "b.pem", issue("b.example"))
    store = CertificateStore(Source(str(tmp_path)))
    old, other = serial(store), store.choose("b.example")
    put_combined(tmp_path / "a.pem", issue("a.example"))
    assert store.refresh() == {}
    assert serial(store) != old
    assert store.choose("b.example") is other
    assert logged == []


def test_new_files_are_found(tmp_path):
    """A certificate that is added to the folder is served after the next look."""
    put_pair(tmp_path / "a.example", issue("a.example"))
    store = CertificateStore(Source(str(tmp_path)))
    put_pair(tmp_path / "b.example", issue("b.example"))
    assert served(store, "b.example") == "a.example"
    store.refresh()
    assert served(store, "b.example") == "b.example"


def half_written(folder, certificate):
    put(folder / "fullchain.pem", chain_of(certificate)[:300])
    return "the certificate in '{0}' is broken"


def only_the_key(folder, certificate):
    put(folder / "privkey.pem", certificate.private_key_pem.bytes())
    return "'{0}' holds no certificate that a private key beside it fits"


def only_the_chain(folder, certificate):
    put(folder / "fullchain.pem", chain_of(certificate))
    return "'{0}' holds no certificate that a private key beside it fits"


def emptied(folder, certificate):
    put(folder / "fullchain.pem")
    return "'{0}' holds no certificate that a private key beside it fits"


def removed(folder, certificate):
    shutil.rmtree(folder)
    return "'{0}' is gone"


@pytest.mark.parametrize("change", [half_written, only_the_key, only_the_chain, emptied, removed])
def test_a_bad_change_keeps_the_old_certificate(tmp_path, logged, change):
    """A certificate that is half written, half replaced or removed stays in use; one warning says so, until it is good."""
    folder = tmp_path / "a.example"
    full = put_pair(folder, issue("a.example"))
    (folder / "cert.pem").unlink()
    store = CertificateStore(Source(str(tmp_path)))
    old, new = serial(store), issue("a.example")
    sentence = change(folder, new).format(full)
    for _ in range(3):
        assert store.refresh()[full].startswith(sentence)
        assert serial(store) == old
        assert served(store, "a.example") == "a.example"
    assert len(logged) == 1
    assert logged[0].startswith(sentence)
    assert logged[0].endswith("the certificate read before stays in use")
    put_pair(folder, new)
    assert store.refresh() == {}
    assert serial(store) != old
    assert len(logged) == 1


@pytest.mark.parametrize("change", ["broken", "another key", "removed"])
def test_a_bad_change_of_a_single_file(tmp_path, logged, change):
    """The same holds for a certificate and a key that were named."""
    certificate = issue("a.example")
    path = put(tmp_path / "chain.pem", chain_of(certificate))
    key = put(tmp_path / "key.pem", certificate.private_key_pem.bytes())
    store = CertificateStore(Source(path, key))
    old = serial(store)
    if change == "broken":
        put(tmp_path / "chain.pem", chain_of(certificate)[:200])
    elif change == "another key":
        put(tmp_path / "key.pem", issue("b.example").private_key_pem.bytes())
    else:
        os.unlink(path)
    for _ in range(2):
        store.refresh()
    assert serial(store) == old
    assert len(logged) == 1


def test_a_chain_that_comes_later(tmp_path):
    """When the full chain is put beside a bare certificate, it takes its place without a warning."""
    certificate = issue("a.example")
    put(tmp_path / "privkey.pem", certificate.private_key_pem.bytes())
    put(tmp_path / "cert.pem", certificate.cert_chain_pems[0].bytes())
    store = CertificateStore(Source(str(tmp_path)))
    full = put(tmp_path / "fullchain.pem", chain_of(certificate))
    assert store.refresh() == {}
    assert [certificate.path for certificate in store.certificates] == [full]


# Expiry


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-3, ["certificate {path!r} (a.example) expired on 2025-12-29"]),
        (0, ["certificate {path!r} (a.example) expired on 2026-01-01"]),
        (1, ["certificate {path!r} (a.example) expires on 2026-01-02, in 1 days"]),
        (13, ["certificate {path!r} (a.example) expires on 2026-01-14, in 13 days"]),
        (14, []),
        (90, []),
    ],
)
def test_expiry(tmp_path, logged, days, expected):
    """There is a warning about a certificate that has expired or will within 14 days."""
    begins = NOW - timedelta(days=100)
    path = put_combined(tmp_path / "a.pem", issue("a.example", begins=begins, ends=NOW + timedelta(days=days)))
    CertificateStore(Source(path), now=NOW.timestamp).warn_of_expiry()
    assert logged == [line.format(path=path) for line in expected]


def test_expiry_of_what_is_not_used(tmp_path, logged):
    """An expired certificate whose names another one serves is not worth a warning."""
    begins = NOW - timedelta(days=100)
    put_combined(tmp_path / "b-old.pem", issue("a.example", begins=begins, ends=NOW - timedelta(days=1)))
    put_combined(tmp_path / "a-new.pem", issue("a.example", begins=begins, ends=NOW + timedelta(days=80)))
    CertificateStore(Source(str(tmp_path)), now=NOW.timestamp).warn_of_expiry()
    assert logged == []


# The service


class Looks:
    """Runs what should run in a thread, at once, and counts."""

    def __init__(self):
        self.count = 0

    def __call__(self, call):
        self.count += 1
        return maybeDeferred(call)


def test_the_service_looks_once_a_second(tmp_path):
    """Files are looked at once a second while the service runs, whatever the clients do."""
    path = tmp_path / "both.pem"
    put_combined(path, issue("a.example"))
    clock, looks = Clock(), Looks()
    service = CertificateService(clock, in_thread=looks)
    store = service.store(Source(str(path)))
    old = serial(store)
    put_combined(path, issue("a.example"))
    service.startService()
    clock.advance(0.5)
    for _ in range(10):
        served(store, "other.example")
    assert (looks.count, serial(store)) == (0, old)
    clock.advance(0.5)
    assert looks.count == 1
    assert serial(store) != old
    clock.pump([1.0] * 5)
    assert looks.count == 6
    service.stopService()
    clock.pump([1.0] * 5)
    assert looks.count == 6
    assert clock.getDelayedCalls() == []


def test_the_service_warns_every_day(tmp_path, logged):
    """Expired certificates are in the log at the start and once a day."""
    ends = datetime.now(UTC) - timedelta(days=1)
    path = put_combined(tmp_path / "a.pem", issue("a.example", ends=ends, begins=ends - timedelta(days=9)))
    clock = Clock()
    service = CertificateService(clock, in_thread=Looks())
    service.store(Source(path))
    assert logged == []
    service.startService()
    assert len(logged) == 1
    clock.advance(86400)
    assert len(logged) == 2
    service.keep([])
    service.store(Source(path))
    assert len(logged) == 3
    service.stopService()


def test_one_store_for_a_source(tmp_path):
    """A source is read once, until it is forgotten; the settings of the service hold for all."""
    path = put_combined(tmp_path / "a.pem", issue("a.example"))
    service = CertificateService(Clock(), http2=False, strict_sni=True)
    store = service.store(Source(path))
    assert service.store(Source(path)) is store
    assert (store.http2, store.strict_sni, service.stores) == (False, True, (store,))
    service.keep([Source(path), Source("other")])
    assert service.stores == (store,)
    service.keep([])
    assert service.stores == ()


def test_a_look_that_fails(tmp_path, failures):
    """An error that nobody expected is logged, and the next look comes all the same."""
    path = put_combined(tmp_path / "a.pem", issue("a.example"))
    clock = Clock()
    service = CertificateService(clock, in_thread=lambda call: maybeDeferred(lambda: 1 / 0))
    service.store(Source(path))
    service.startService()
    clock.pump([1.0] * 2)
    assert [failure.type for failure in failures] == [ZeroDivisionError] * 2
    service.stopService()


@pytest_twisted.ensureDeferred
async def test_files_are_read_in_a_thread(tmp_path):
    """The reactor's thread does not read files."""
    path = put_combined(tmp_path / "a.pem", issue("a.example"))
    service = CertificateService(reactor)
    store = service.store(Source(path))
    threads = []
    store.refresh = lambda: threads.append(threading.current_thread())
    await service._look()
    assert threads != [threading.main_thread()]
    assert len(threads) == 1
