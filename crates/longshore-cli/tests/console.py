"""Sits at the terminal of `longshore serve` as a person would: console.py PROGRAM DRIVER PROMISE.

The server has a terminal of its own, in a session of its own, so that whether it is in the foreground
is as a shell would have it.
"""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import sys
import termios
import time

PROGRAM, DRIVER, PROMISE = sys.argv[1:]
PATIENCE_SECONDS = 30
signal.alarm(120)  # whatever hangs


class Terminal:
    """A terminal; `inside` runs in a session whose terminal it is, and ends with what it returns."""

    def __init__(self, inside):
        self.session, self.ours = pty.fork()
        if self.session == 0:
            signal.alarm(120)
            try:
                inside()
            finally:
                os._exit(99)
        self.seen = ""
        self.all = ""

    def wait_for(self, pattern):
        """Reads until the screen has shown `pattern` behind what was waited for before."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(pattern, self.seen)):
            left = until - time.monotonic()
            ready = select.select([self.ours], [], [], max(left, 0))[0]
            assert ready, f"no {pattern!r} in {self.seen!r}"
            piece = os.read(self.ours, 65536).decode()
            self.seen += piece
            self.all += piece
        self.seen = self.seen[found.end() :]
        return found

    def type_in(self, line):
        os.write(self.ours, line.encode() + b"\n")

    def interrupt(self):
        os.write(self.ours, b"\x03")

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.session, 0)[1])


def serve(*flags):
    args = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--driver", DRIVER, "--protocol", "lines", *flags]
    os.execv(PROGRAM, args)


def port_of(terminal):
    return int(terminal.wait_for(r"listening\S*  127\.0\.0\.1:(\d+)")[1])


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    return peer, "%s:%d" % peer.getsockname()


def exchange(peer, text):
    peer.sendall(text)
    got = b""
    while len(got) < len(text):
        piece = peer.recv(4096)
        assert piece, "the server closed"
        got += piece
    assert got == text, got


def comings_and_goings():
    terminal = Terminal(serve)
    port = port_of(terminal)
    terminal.wait_for(r"console\S*    list, send ID TEXT, all TEXT, send-file ID FILE, kick ID, help\r\n")
    peer, name = connect(port)
    id = terminal.wait_for(r"connected\S*  (\S+)   " + name + "\r\n")[1]
    exchange(peer, b"a message\n")
    terminal.type_in("send " + id[:-1] + " hello")
    terminal.wait_for(id + ": queued")
    assert peer.recv(100) == b"hello\n"
    terminal.type_in("dance")
    terminal.wait_for('no command "dance"; help lists what there is')
    peer.close()
    left = r"left\S*       " + id + "   " + name + r"   after \d+\.\d s   1 message in, 2 out   peer closed[^\r]*\r\n"
    terminal.wait_for(left)
    terminal.interrupt()
    terminal.wait_for(r"stopped\S*    after ")
    assert terminal.exit_code() == 0
    assert "a message" not in terminal.all, "only -v shows messages"


def messages():
    terminal = Terminal(lambda: serve("-v"))
    port = port_of(terminal)
    terminal.wait_for("console")
    peer, name = connect(port)
    id = terminal.wait_for(r"connected\S*  (\S+)   " + name)[1]
    exchange(peer, b"h\x1b[2Ji\n")
    terminal.wait_for(r"message\S*    " + id + r'   6 bytes   "h\\u\{1b\}\[2Ji"\r\n')
    exchange(peer, b"x" * 100 + b"\n")
    terminal.wait_for(r"message\S*    " + id + r'   100 bytes   "' + "x" * 60 + r'"\.\.\.\r\n')
    peer.close()
    terminal.wait_for(r"left\S*       " + id + "   " + name)
    terminal.type_in("list")
    terminal.wait_for("nobody is connected")
    terminal.interrupt()
    terminal.wait_for(r"stopped\S*    after ")
    assert terminal.exit_code() == 0
    assert "closed " + name not in terminal.all, "the log says it too: " + terminal.all


def background():
    """A shell with job control: it starts the server in the background, and later brings it to the front."""

    def shell():
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        server = os.fork()
        if server == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            serve()
        # The line that is typed meanwhile is for the shell.
        line = os.read(0, 100)
        os.write(1, b"the shell got " + line)
        stopped, status = os.waitpid(server, os.WNOHANG | os.WUNTRACED)
        os.write(1, b"the server was stopped\n" if stopped else b"the server runs\n")
        os.tcsetpgrp(0, server)
        stopped, status = os.waitpid(server, os.WUNTRACED)
        os._exit(98 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))

    terminal = Terminal(shell)
    port = port_of(terminal)
    terminal.wait_for(r"stop\S*       Ctrl-C")
    peer, name = connect(port)
    terminal.wait_for(r"connected\S*  (\S+)   " + name)
    exchange(peer, b"x\n")
    assert "console" not in terminal.all, terminal.all
    terminal.type_in("list")
    terminal.wait_for("the shell got list\r\nthe server runs\r\n")
    exchange(peer, b"x\n")
    terminal.type_in("list")
    terminal.wait_for(name + r"   \d+\.\d s   2 messages in")
    terminal.wait_for("1 connection\r\n")
    peer.close()
    terminal.interrupt()
    terminal.wait_for(r"stopped\S*    after ")
    assert terminal.exit_code() == 0


def suspended():
    """Ctrl-Z, bg, and later fg."""

    def shell():
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        server = os.fork()
        if server == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            serve()
        stopped, status = os.waitpid(server, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpid())
        os.write(1, b"stopped by %d\n" % os.WSTOPSIG(status))
        os.kill(server, signal.SIGCONT)
        os.write(1, b"the shell got " + os.read(0, 100))
        os.tcsetpgrp(0, server)
        stopped, status = os.waitpid(server, os.WUNTRACED)
        os._exit(98 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))

    terminal = Terminal(shell)
    port = port_of(terminal)
    terminal.wait_for("console")
    terminal.type_in("list")
    terminal.wait_for("nobody is connected")
    os.write(terminal.ours, b"\x1a")
    terminal.wait_for(f"stopped by {int(signal.SIGTSTP)}")
    peer, name = connect(port)
    terminal.wait_for(r"connected\S*  (\S+)   " + name)
    exchange(peer, b"x\n")
    terminal.type_in("list")
    terminal.wait_for("the shell got list")
    exchange(peer, b"x\n")
    terminal.type_in("list")
    terminal.wait_for("1 connection\r\n")
    peer.close()
    terminal.interrupt()
    terminal.wait_for(r"stopped\S*    after ")
    assert terminal.exit_code() == 0


def hangup():
    """Without a terminal that is its own, so that no signal tells it: what it reads is over."""
    ours, theirs = pty.openpty()
    out_read, out_write = os.pipe()
    server = os.fork()
    if server == 0:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.dup2(theirs, 0)
        os.dup2(out_write, 1)
        os.dup2(out_write, 2)
        os.closerange(3, 100)
        serve()
    os.close(theirs)
    os.close(out_write)
    said = b""

    def wait_for(part):
        nonlocal said
        while part not in said:
            ready = select.select([out_read], [], [], PATIENCE_SECONDS)[0]
            assert ready, f"no {part!r} in {said!r}"
            piece = os.read(out_read, 65536)
            assert piece, f"no {part!r} in {said!r}"
            said += piece

    wait_for(b"\nstop")
    port = int(re.search(rb"127\.0\.0\.1:(\d+)", said)[1])
    os.write(ours, b"dance\n")
    wait_for(b'no command "dance"')
    os.close(ours)
    peer, _ = connect(port)
    exchange(peer, b"x\n")
    peer.close()
    os.kill(server, signal.SIGTERM)
    wait_for(b"stopped")
    assert os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) == 0
    assert b"cannot read" not in said, said


{"comings_and_goings": comings_and_goings, "messages": messages, "background": background, "suspended": suspended, "hangup": hangup}[PROMISE]()
