"""
Closing a listening socket without losing a connection.

What is in its queue when it is closed is reset by the kernel, though its clients may have sent their requests. So new
connections are kept off first, those that wait are accepted, and then it is closed.
"""

import socket
import struct
import sys
from array import array
from contextlib import suppress
from typing import Any

#: More than can wait to be accepted.
MOST = 65536

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27

#: Drops the packets that begin a connection (SYN without ACK), as BPF: (code, jump if true, jump if false, value).
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


def keep_off(listening: socket.socket) -> None:
    """
    Have the kernel begin no more connections on a TCP socket; those that have begun still come. Only Linux can.

    A client that tries it is not refused but tries again, a second later.
    """
    if sys.platform == "linux" and listening.family != socket.AF_UNIX:
        program = array("B", b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
        described = struct.pack("HP", len(_NO_SYN), program.buffer_info()[0])
        with suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)


def let_in(listening: socket.socket) -> None:
    """Undo ``keep_off``."""
    if sys.platform == "linux" and listening.family != socket.AF_UNIX:
        with suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def accept_waiting(port: Any) -> None:
    """
    Accept what is in the queue of a port.

    :param port: a ``Port``.
    """
    port.disconnecting = False  # else it stops after one
    for _ in range(MOST):
        before = port.sessionno
        port.doRead()
        if port.sessionno == before:
            return
