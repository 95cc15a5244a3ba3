"""
A Redis as a child process.
"""

import signal
import socket
import subprocess
import time

#: How long it may take to start, in seconds.
PATIENCE = 20

#: Moves the time of keys with a prefix on by some seconds: their ends come nearer. Those of values are rounded to quarters
#: of a second, which takes back the time that has passed by itself.
TRAVEL = """
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    local left = redis.call('PTTL', key)
    if string.sub(key, #ARGV[1] + 1, #ARGV[1] + 2) == 'h:' then
        redis.call('SET', key, string.format('%.6f', redis.call('GET', key) - ARGV[2]), 'KEEPTTL')
        redis.call('PEXPIRE', key, string.format('%.0f', left - ARGV[2] * 1000))
    elseif left >= 0 then
        redis.call('PEXPIRE', key, string.format('%.0f', math.floor(left / 250 - ARGV[2] * 4 + 0.5) * 250))
    end
end
"""


class RedisServer:
    """
    A Redis on a socket in a folder.

    :param program: the path of redis-server.
    :param options: more of its settings.
    """

    def __init__(self, program, folder, *options):
        self.path = str(folder / "redis.sock")
        own = ("--port", "0", "--unixsocket", self.path, "--dir", str(folder), "--save", "", "--appendonly", "no")
        self.command_line = [program, *own, *options]
        self.start()

    def start(self):
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(self.command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.command("PING")
                return
            except RuntimeError as refusal:
                if not str(refusal).startswith("LOADING"):
                    return
            except OSError:
                assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.01)

    def send(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self):
        """End it at once."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def stop(self):
        """End it, also when it was stopped by a signal."""
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.kill()

    def command(self, *words):
        """The answer to a command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.path)
            encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            head = b"*%d\r\n" % len(encoded)
            connection.sendall(head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))
            with connection.makefile("rb") as answer:
                return read_reply(answer)


def read_reply(answer):
    """One reply of the protocol."""
    line = answer.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-" or not line:
        raise RuntimeError(rest.decode())
    if kind == b"$":
        return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [read_reply(answer) for _ in range(int(rest))]
    return int(rest) if kind == b":" else rest
