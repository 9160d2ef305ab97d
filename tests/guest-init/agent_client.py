# SPDX-License-Identifier: Apache-2.0
"""An independent client of cubby's agent, written from docs/protocol.md alone.

    python3 agent_client.py VSOCK_SOCKET [--stdin] [--tty] [--user U] [--cwd D] [--timeout MS] -- COMMAND...

Prints the command's output and, on stderr, its result as one line. Used by tests; imports nothing of cubby.
"""
import argparse
import os
import socket
import struct
import sys

HELLO, ERROR = 0x01, 0x02
EXEC, STDIN, SIGNAL, KILL, RESIZE = 0x10, 0x11, 0x12, 0x13, 0x14
STREAM_EOF, WINDOW = 0x18, 0x19
STARTED, STDOUT, STDERR, EXITED = 0x20, 0x21, 0x22, 0x23
LIST, ATTACH, REMOVE, ITEM, LIST_END, ATTACHED, SKIPPED = 0x30, 0x31, 0x32, 0x38, 0x39, 0x3A, 0x3B
PUT, GET, ENTRY, DATA, XATTR, END, DONE = range(0x40, 0x47)
FILE, FOLDER, LEAVE, SYMLINK, HARD_LINK, CHAR, BLOCK, FIFO = range(1, 9)
ARCHIVE, CONTENTS, NO_REPLACE = 1, 2, 4
MAGIC, AGENT_PORT = 0x59425543, 1025
FLAG_STDIN, FLAG_STDOUT, FLAG_STDERR, FLAG_DETACHED = 1, 2, 4, 8
CREDIT = 1 << 20
RESULT = "<BBBxIQQQQQ"
RESULT_NAMES = ("how", "code", "signo", "flags", "wall_ns", "utime_us", "stime_us", "max_rss", "mem_peak")


def frame(kind, payload=b""):
    return struct.pack("<IBBH", len(payload), kind, 0, 0) + payload


def field(tag, value):
    return struct.pack("<HI", tag, len(value)) + value


def text(tag, value):
    return field(tag, os.fsencode(value) + b"\0")


class Entry:
    """Of a file transfer: what ENTRY says, and the data (offset, bytes) and xattrs behind it."""
    LAYOUT = struct.Struct("<BBHIIqIQIIH")

    def __init__(self, kind, path=b"", mode=0o644, owner=(0, 0), mtime=(0, 0), size=0, device=(0, 0), target=b"",
                 linked=0, data=(), xattrs=()):
        self.kind, self.path, self.mode, self.owner, self.mtime, self.size = kind, path, mode, owner, mtime, size
        self.device, self.target, self.linked = device, target, linked
        self.data, self.xattrs = list(data), dict(xattrs)

    def frames(self):
        yield ENTRY, self.LAYOUT.pack(self.kind, self.linked, self.mode, *self.owner, *self.mtime, self.size,
                                      *self.device, len(self.path)) + self.path + self.target
        for offset, piece in self.data:
            yield DATA, struct.pack("<Q", offset) + piece
        for name, value in self.xattrs.items():
            yield XATTR, bytes([len(name)]) + name + value

    @classmethod
    def parse(cls, payload):
        kind, linked, mode, uid, gid, sec, nsec, size, major, minor, length = cls.LAYOUT.unpack_from(payload)
        rest = payload[cls.LAYOUT.size:]
        return cls(kind, rest[:length], mode, (uid, gid), (sec, nsec), size, (major, minor), rest[length:], linked)

    def content(self):
        whole = bytearray(self.size)
        for offset, piece in self.data:
            whole[offset:offset + len(piece)] = piece
        return bytes(whole)


class Agent:
    """One operation connection."""

    def __init__(self, path, port=AGENT_PORT):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)  # for one step: nothing here takes as long
        self.sock.connect(path)
        self.sock.sendall(b"CONNECT %d\n" % port)
        self.buf = b""
        while b"\n" not in self.buf:
            more = self.sock.recv(64)
            if not more:
                raise ConnectionError("refused")
            self.buf += more
        line, self.buf = self.buf.split(b"\n", 1)
        if not line.startswith(b"OK "):
            raise ConnectionError(line.decode())
        self.send(HELLO, struct.pack("<IHH", MAGIC, 1, 1))

    def send(self, kind, payload=b""):
        self.sock.sendall(frame(kind, payload))

    def take(self, count):
        while len(self.buf) < count:
            more = self.sock.recv(1 << 18)
            if not more:
                raise EOFError("the agent closed the connection")
            self.buf += more
        data, self.buf = self.buf[:count], self.buf[count:]
        return data

    def next(self):
        length, kind, flags, reserved = struct.unpack("<IBBH", self.take(8))
        if flags or reserved:
            raise ValueError("bits that version 1 does not have")
        return kind, self.take(length)

    def exec(self, argv, env=(), cwd=None, user=None, tty=None, timeout_ms=0, grace_ms=2000, limits=None,
             flags=FLAG_STDOUT | FLAG_STDERR, backlog=0, stop_signal=0):
        body = b"".join(text(1, a) for a in argv) + b"".join(text(2, v) for v in env)
        if cwd:
            body += text(3, cwd)
        if user:
            body += text(4, user)
        if tty:
            body += field(5, struct.pack("<HH", *tty))
            flags &= ~FLAG_STDERR
        if timeout_ms:
            body += field(6, struct.pack("<Q", timeout_ms))
        body += field(7, struct.pack("<I", grace_ms))
        if limits:
            body += field(9, struct.pack("<QII", *limits))
        body += field(10, struct.pack("<I", flags)) + field(11, struct.pack("<II", CREDIT, CREDIT))
        if backlog:
            body += field(12, struct.pack("<I", backlog))
        if stop_signal:
            body += field(13, struct.pack("<B", stop_signal))
        self.send(EXEC, body)

    def attach(self, exec_id, flags=FLAG_STDOUT | FLAG_STDERR, from_out=0, from_err=0):
        """Becomes a client of a detached execution; follow it with result()."""
        self.send(ATTACH, struct.pack("<QQQIII", exec_id, from_out, from_err, flags, CREDIT, CREDIT))

    def remove(self, exec_id, kill=False):
        self.send(REMOVE, struct.pack("<QI", exec_id, kill))
        return self.result(None, None)

    def list(self):
        """All executions, as dictionaries."""
        items = []
        self.send(LIST)
        while True:
            kind, data = self.next()
            if kind == LIST_END:
                assert struct.unpack("<I", data)[0] == len(items)
                return items
            if kind == ITEM:
                item = dict(zip(("id", "age_ns", "pid", "what", "state"), struct.unpack_from("<QQIIBxxx", data)))
                item["result"] = dict(zip(RESULT_NAMES, struct.unpack_from(RESULT, data, 28)))
                item["command"] = data[76:].decode(errors="replace")
                items.append(item)
            elif kind != HELLO:
                raise ValueError("unexpected frame 0x%02x" % kind)

    def credit(self, stream, count):
        self.send(WINDOW, struct.pack("<BxxxI", stream, count))

    @staticmethod
    def error(data):
        stage, _, errnum = struct.unpack_from("<HHI", data)
        return {"error": stage, "errno": errnum, "text": data[8:].decode(errors="replace")}

    def put(self, path, entries, name=b"", flags=CONTENTS, owner=b""):
        """Sends a tree; the four totals of DONE, or what ERROR says."""
        self.send(PUT, struct.pack("<IBBH", flags, len(owner), len(name), 0) + owner + name + path)
        count = size = 0
        for entry in entries:
            count += entry.kind != LEAVE
            size += sum(len(piece) for _, piece in entry.data)
            for kind, payload in entry.frames():
                self.send(kind, payload)
        self.send(END, struct.pack("<QQQQ", count, size, 0, 0))
        kind, data = self.next()
        while kind == HELLO:
            kind, data = self.next()
        if kind not in (DONE, ERROR):
            raise ValueError("unexpected frame 0x%02x" % kind)
        return struct.unpack("<QQQQ", data) if kind == DONE else self.error(data)

    def get(self, path, flags=0):
        """A tree as a list of entries, and the totals of END; or what ERROR says."""
        self.send(GET, struct.pack("<I", flags) + path)
        entries = []
        while True:
            kind, data = self.next()
            if kind == ENTRY:
                entries.append(Entry.parse(data))
            elif kind == DATA:
                entries[-1].data.append((struct.unpack_from("<Q", data)[0], data[8:]))
            elif kind == XATTR:
                entries[-1].xattrs[data[1:1 + data[0]]] = data[1 + data[0]:]
            elif kind == END:
                return entries, struct.unpack("<QQQQ", data)
            elif kind == ERROR:
                return self.error(data)
            elif kind != HELLO:
                raise ValueError("unexpected frame 0x%02x" % kind)

    def result(self, out, err):
        """Reads until the end; `out` and `err` are called with bytes."""
        skipped = [0, 0, 0]
        while True:
            kind, data = self.next()
            if kind == STDOUT:
                out(data)
                self.credit(1, len(data))
            elif kind == STDERR:
                err(data)
                self.credit(2, len(data))
            elif kind == ERROR:
                return self.error(data)
            elif kind == EXITED:
                return dict(zip(RESULT_NAMES, struct.unpack(RESULT, data)), skipped=skipped)
            elif kind == SKIPPED:
                stream, count = struct.unpack("<BxxxQ", data)
                skipped[stream] += count
            elif kind not in (HELLO, STARTED, ATTACHED, STREAM_EOF, WINDOW):
                raise ValueError("unexpected frame 0x%02x" % kind)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--stdin", action="store_true")
    parser.add_argument("--tty", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--cwd")
    parser.add_argument("--timeout", type=int, default=0)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--pids", type=int, default=0)
    parser.add_argument("command", nargs="+")
    o = parser.parse_args()
    agent = Agent(o.socket)
    flags = FLAG_STDOUT | FLAG_STDERR | (FLAG_STDIN if o.stdin else 0)
    agent.exec(o.command, user=o.user, cwd=o.cwd, timeout_ms=o.timeout, tty=(43, 132) if o.tty else None,
               limits=(o.memory, o.pids, 0) if o.memory or o.pids else None, flags=flags)
    if o.stdin:
        # 64 KiB of credit are there from the start: enough for what tests send this way.
        data = sys.stdin.buffer.read(65536)
        if data:
            agent.send(STDIN, data)
        agent.send(STREAM_EOF, b"\0")
    result = agent.result(lambda b: os.write(1, b), lambda b: os.write(2, b))
    print(" ".join("%s=%s" % item for item in result.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
