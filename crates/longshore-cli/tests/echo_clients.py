"""Talks to an echo server as clients in another language would: echo_clients.py PORT PROTOCOL.

Each function is a promise; its name is printed when it holds. Plain sockets, no library of ours, so
that a mistake made on both sides cannot hide.
"""

import select
import socket
import struct
import sys
import threading

PORT = int(sys.argv[1])
PATIENCE_SECONDS = 30


def connect():
    peer = socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE_SECONDS)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def read(peer, count):
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < count:
        piece = peer.recv(min(count - len(data), 1 << 20))
        assert piece, f"stream ended after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)


def read_all(peer):
    """All there is until the server closes."""
    data = bytearray()
    while piece := peer.recv(1 << 20):
        data += piece
    return bytes(data)


def expect(got, wanted):
    assert got == wanted, f"got {got[:60]!r} ({len(got)} bytes), wanted {wanted[:60]!r} ({len(wanted)} bytes)"


def exchange(request, answer):
    """Sends at once, half-closes, and expects exactly this answer."""
    with connect() as peer:
        writer = threading.Thread(target=lambda: (peer.sendall(request), peer.shutdown(socket.SHUT_WR)))
        writer.start()
        expect(read_all(peer), answer)
        writer.join()


def exchange_torn(request, answer):
    """The same, a byte at a time."""
    with connect() as peer:
        for byte in request:
            peer.sendall(bytes([byte]))
        peer.shutdown(socket.SHUT_WR)
        expect(read_all(peer), answer)


def refused(before, answer, bad):
    """What was answered before stays; after `bad` the server ends the connection unasked."""
    with connect() as peer:
        peer.sendall(before)
        expect(read(peer, len(answer)), answer)
        peer.sendall(bad)
        try:
            expect(read_all(peer), b"")
        except ConnectionResetError:
            pass


def stubborn(request, answer):
    """Writes until the server takes no more, and only then begins to read."""
    with connect() as peer:
        view, sent, got = memoryview(request), 0, bytearray()
        peer.setblocking(False)
        reading = False
        while len(got) < len(answer):
            wants = [peer] if sent < len(view) else []
            reads, writes, _ = select.select([peer] if reading else [], wants, [], 0.3)
            if not reads and not writes:
                assert not reading, f"stuck after {sent} bytes sent and {len(got)} received"
                reading = True
            if writes:
                sent += peer.send(view[sent : sent + (1 << 20)])
            if reads:
                piece = peer.recv(1 << 20)
                assert piece, "the server closed"
                got += piece
            reading = reading or sent == len(view)
        expect(bytes(got), answer)


# ---- raw


def raw_bytes_come_back():
    exchange(b"hello", b"hello")
    every = bytes(range(256)) * 4
    exchange_torn(every, every)


def raw_half_close_gets_the_rest():
    data = bytes(range(251)) * 40_000
    exchange(data, data)


def raw_a_peer_that_does_not_read_is_waited_for():
    data = bytes(range(251)) * 130_000
    stubborn(data, data)


# ---- lines


def lines_come_back():
    exchange(b"one\ntwo\r\n\nthree", b"one\ntwo\n\nthree\n")


def lines_may_be_torn():
    text = "grün\nένα\n".encode()
    exchange_torn(text, text)


def lines_many_in_one_write():
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    exchange(text, text)


def lines_too_long_is_refused():
    refused(b"ok\n", b"ok\n", b"x" * ((1 << 20) + 1))


def lines_must_be_utf8():
    refused(b"ok\n", b"ok\n", b"\xff\n")


# ---- length


def framed(payload):
    return struct.pack(">I", len(payload)) + payload


def length_frames_come_back():
    frames = b"".join(map(framed, [b"hello", b"", b"\0" * 70_000]))
    exchange(frames, frames)


def length_frames_may_be_torn():
    frames = framed(b"hello") + framed(b"") + framed(b"x" * 300)
    exchange_torn(frames, frames)


def length_many_in_one_write():
    frames = b"".join(framed(b"%d" % number) for number in range(50_000))
    exchange(frames, frames)


def length_longest_frame_comes_back():
    frame = framed(b"y" * (16 << 20))
    exchange(frame, frame)


def length_too_long_is_refused_by_its_header():
    refused(framed(b"ok"), framed(b"ok"), struct.pack(">I", (16 << 20) + 1))


def length_end_within_a_frame_ends_it():
    exchange(framed(b"whole") + framed(b"torn")[:-1], framed(b"whole"))


def length_a_peer_that_does_not_read_is_waited_for():
    frames = framed(bytes(range(256)) * 4096) * 60
    stubborn(frames, frames)


# ---- longshore


def message(kind, payload):
    return struct.pack(">cBBBI", b"L", 1, kind, 0, len(payload)) + payload


HELLO, TEXT, BINARY, PING, PONG, UNKNOWN = 0, 1, 2, 3, 4, 200


def longshore_texts_and_binaries_come_back():
    messages = message(TEXT, "grüß".encode()) + message(BINARY, b"\0\7" + b"\xff" * 5) + message(TEXT, b"")
    exchange(messages, messages)
    exchange_torn(messages, messages)


def longshore_many_in_one_write():
    messages = b"".join(message(TEXT, b"%d" % number) for number in range(50_000))
    exchange(messages, messages)


def longshore_pings_are_answered_in_order():
    request = message(TEXT, b"a") + message(PING, b"12") + message(TEXT, b"b")
    exchange(request, message(TEXT, b"a") + message(PONG, b"12") + message(TEXT, b"b"))


def longshore_what_need_not_be_known_is_skipped():
    exchange(message(UNKNOWN, b"what") + message(TEXT, b"a"), message(TEXT, b"a"))


def longshore_other_protocols_are_refused():
    refused(b"", b"", b"GET / HTTP/1.1\r\n\r\n")
    refused(message(TEXT, b"a"), message(TEXT, b"a"), message(TEXT, b"b").replace(b"L\1", b"L\2"))


def longshore_too_long_is_refused_by_its_header():
    refused(b"", b"", message(TEXT, b"")[:4] + struct.pack(">I", (1 << 20) + 1))


def main():
    promises = [(name, run) for name, run in globals().items() if name.startswith(sys.argv[2] + "_")]
    assert promises, f"no protocol {sys.argv[2]}"
    for name, run in promises:
        try:
            run()
        except Exception as error:
            raise SystemExit(f"{name}: {type(error).__name__}: {error}")
        print(name)


main()
