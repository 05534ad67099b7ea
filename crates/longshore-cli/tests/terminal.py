"""Types into `longshore connect` as a person would: terminal.py PROGRAM ADDR."""

import os
import pty
import subprocess
import sys

ours, theirs = pty.openpty()
program = subprocess.Popen([sys.argv[1], "connect", sys.argv[2]], stdin=theirs, stdout=theirs, stderr=theirs)
os.close(theirs)
seen = ""


def wait_for(text):
    """Reads until the screen has shown `text` after what was waited for before."""
    global seen
    while text not in seen:
        piece = os.read(ours, 4096)
        assert piece, f"no {text!r} in {seen!r}"
        seen += piece.decode()
    seen = seen.split(text, 1)[1]


def type_in(line):
    os.write(ours, line.encode() + b"\n")


wait_for("connected to")
wait_for("> ")
type_in("hello")
wait_for("< hello\r\n> ")
type_in("/help")
wait_for("a line is a message")
type_in("/nonsense")
wait_for("no such command")
type_in("//slash")
wait_for("< /slash\r\n> ")
type_in("/quit")
assert program.wait() == 0, program.returncode
