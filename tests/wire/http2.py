"""
A client of HTTP/2 that sends what it is told to, sensible or not, and reads when it is told to.
"""

import socket
import ssl
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4

INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1
ENHANCE_YOUR_CALM = 11

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def number(value):
    """Four octets."""
    return struct.pack(">I", value)


def setting(name, value):
    """A setting of a SETTINGS frame."""
    return struct.pack(">HI", name, value)


def request(stream, path, method=b"\x82", end=True):
    """A HEADERS frame for a path; the method is GET as the static table has it."""
    block = method + b"\x87\x01\x09localhost\x04" + bytes([len(path)]) + path
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def frames(data):
    """The whole frames in what was received, as (kind, flags, stream, payload), and the octets behind them."""
    found, at = [], 0
    while len(data) - at >= 9:
        end = at + 9 + int.from_bytes(data[at : at + 3], "big")
        if len(data) < end:
            break
        found.append((data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : end]))
        at = end
    return found, data[at:]


class Client:
    """
    A connection over TLS; its own window is as large as it can be, those of its streams are not.

    :param settings: of the client, by number.
    :param buffer: bytes that the kernel keeps for it when it does not read.
    :ivar ended: whether the server has closed the connection.
    """

    def __init__(self, port, settings=(), buffer=None):
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        plain = socket.socket()
        if buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", port))
        self.socket = context.wrap_socket(plain)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.ended = False
        self._rest = b""
        self.send(
            PREFACE,
            frame(SETTINGS, 0, 0, b"".join(setting(*each) for each in dict(settings).items())),
            frame(WINDOW_UPDATE, 0, 0, number(LARGEST_WINDOW - 65535)),
        )

    def send(self, *sent, seconds=20):
        """Send octets, and return whether they were taken within some time."""
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(b"".join(sent))
        except TimeoutError:
            return False
        except OSError:
            self.ended = True
            return False
        return True

    def receive(self, seconds=20):
        """The frames that come next; none when the connection is closed, or the time is up."""
        self.socket.settimeout(seconds)
        found = []
        while not found and not self.ended:
            try:
                data = self.socket.recv(256 * 1024)
            except TimeoutError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
            found, self._rest = frames(self._rest + data)
        return found

    def receive_until(self, done, seconds=20):
        """All frames until one of them pleases, or there are no more for some time."""
        found = []
        while not any(map(done, found[-1000:])):
            more = self.receive(seconds)
            if not more:
                break
            found += more
        return found

    def close(self):
        """Close the connection."""
        self.socket.close()
