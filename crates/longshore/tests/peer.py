"""A peer of the longshore protocol that knows nothing of longshore but docs/protocol.md.

    peer.py PORT put FILE NAME [STOP]   offers FILE; with STOP it leaves when so much is written
    peer.py PORT get NAME FILE          what lies in FILE from before is gone on with
    peer.py PORT take WORDS FILE        says WORDS, and takes what is offered then
    peer.py PORT list [FOLDER]

Needs b3sum for digests. Says in a line how it went; "no" has the number of the reason.
"""
import os
import socket
import struct
import subprocess
import sys

HELLO, TEXT, BINARY, PING, PONG = range(5)
OFFER, ACCEPT, DATA, END, CREDIT, DONE, REFUSE, GIVE_UP = range(16, 24)
GET, LIST, ENTRIES, NO, SENDER_HOLDS, RECEIVER_HOLDS = range(24, 30)
FILES, DIGEST_MISMATCH, ALL, CHUNK, WINDOW = 1, 13, 2**64 - 1, 65536, 262144


def digest(data):
    return bytes.fromhex(subprocess.check_output(["b3sum", "--no-names"], input=data).decode())


def content(path):
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as file:
        return file.read()


def no(payload):
    return f"no {struct.unpack_from('>H', payload, 4)[0]}: {payload[6:].decode()}"


class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.input = self.socket.makefile("rb")
        self.send(HELLO, ">Q", FILES)
        while (frame := self.receive())[0] != HELLO:
            pass
        if struct.unpack(">Q", frame[1])[0] & FILES == 0:
            sys.exit("the peer takes no files")

    def send(self, kind, fields, *values, data=b""):
        payload = struct.pack(fields, *values) + data
        self.socket.sendall(b"L" + struct.pack(">BBBI", 1, kind, 0, len(payload)) + payload)

    def read(self, count):
        data = self.input.read(count)
        return data if len(data) == count else sys.exit("the connection ended")

    def receive(self):
        """The next frame that is not answered, or passed over, here."""
        while True:
            magic, version, kind, flags, length = struct.unpack(">cBBBI", self.read(8))
            unknown = PONG < kind < OFFER or RECEIVER_HOLDS < kind < 128
            if magic != b"L" or version != 1 or unknown or (flags != 0 and kind < 128):
                sys.exit("that is no frame")
            payload = self.read(length)
            if kind == PING:
                self.send(PONG, "", data=payload)
            elif kind != PONG and kind < 128:
                return kind, payload

    def put(self, path, name, stop=None):
        data, changed = content(path), os.stat(path).st_mtime_ns
        size, at, held = len(data), None, False
        self.send(OFFER, ">IIQQQQ", 1, 0, 0, size, size, changed, data=name.encode())
        while True:
            kind, payload = self.receive()
            if kind == ACCEPT:
                _, have, credit, proof = struct.unpack(">IQQ32s", payload)
                if have > 0 and digest(data[:have]) != proof:
                    have, credit = 0, credit - have
                at = have
            elif kind == CREDIT:
                _, written, credit = struct.unpack(">IQQ", payload)
                if written >= int(stop or ALL):
                    return "left"
            elif kind == RECEIVER_HOLDS:
                held = payload[4] == 1
            elif kind == REFUSE:
                return no(payload)
            elif kind == DONE:
                return f"done: {size} bytes, {have} were there"
            while at is not None and not held and at < min(credit, size):
                piece = data[at:min(at + CHUNK, credit)]
                self.send(DATA, ">IQ", 1, at, data=piece)
                at += len(piece)
            if at == size:
                self.send(END, ">IQ", 1, size, data=digest(data))
                at = None

    def take(self, path):
        """Takes the one file that is offered next."""
        while True:
            kind, payload = self.receive()
            if kind == OFFER:
                number, _, _, size = struct.unpack_from(">IIQQ", payload)
                data, first = content(path)[:size], True
                have, credit = len(data), len(data) + WINDOW
                self.send(ACCEPT, ">IQQ", number, have, credit, data=digest(data))
            elif kind == DATA:
                _, offset = struct.unpack_from(">IQ", payload)
                if first and have > 0 and offset == 0:
                    data, have, credit = b"", 0, credit - have
                if offset != len(data):
                    sys.exit("there is a gap")
                data, first = data + payload[12:], False
                if credit - len(data) <= WINDOW // 2:
                    credit = len(data) + WINDOW
                    self.send(CREDIT, ">IQQ", number, len(data), credit)
            elif kind == END and digest(data) != payload[12:]:
                self.send(REFUSE, ">IH", number, DIGEST_MISMATCH)
                return "the digest is another"
            elif kind == END:
                with open(path, "wb", buffering=0) as file:
                    file.write(data)
                    os.fsync(file.fileno())
                self.send(DONE, ">IQ", number, size)
                return f"done: {size} bytes, {have} were there"
            elif kind in (NO, GIVE_UP):
                return no(payload)

    def list(self, folder=""):
        self.send(LIST, ">I", 1, data=folder.encode())
        lines, last = [], False
        while not last:
            kind, payload = self.receive()
            if kind == NO:
                return no(payload)
            last, at = payload[4] == 1, 5
            while kind == ENTRIES and at < len(payload):
                folder, size, _, length = struct.unpack_from(">BQQH", payload, at)
                at += 19 + length
                lines.append(f"{payload[at - length:at].decode()}{'/' * folder} {size}")
        return "\n".join(lines)


peer, what, rest = Peer(int(sys.argv[1])), sys.argv[2], sys.argv[3:]
if what == "get":
    peer.send(GET, ">IQQ", 1, 0, ALL, data=rest.pop(0).encode())
elif what == "take":
    peer.send(TEXT, "", data=rest.pop(0).encode())
print({"put": peer.put, "get": peer.take, "take": peer.take, "list": peer.list}[what](*rest))
