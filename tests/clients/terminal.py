"""A program in a pseudo-terminal: what it writes, and the screen that a person would see."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

WAIT_S = 120
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A program in a terminal, of 100 columns and 40 rows unless told otherwise."""

    def __init__(self, command, columns=100, rows=40, **environment):
        self.size = (columns, rows)
        self.process, self.screen = pty.fork()
        if self.process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.update(TERM="xterm-256color", PAGER="cat", COLUMNS=str(columns), LINES=str(rows))
            os.environ.update(environment)
            os.execv(command[0], command)
        self.seen = b""
        self.all = b""

    def read(self, wait):
        if not select.select([self.screen], [], [], wait)[0]:
            return False
        try:
            more = os.read(self.screen, 65536)
        except OSError:
            return False
        # The editor asks where the cursor is.
        for _ in range(more.count(b"\x1b[6n")):
            os.write(self.screen, b"\x1b[1;1R")
        self.seen += more
        self.all += more
        return bool(more)

    def text(self):
        return ESCAPES.sub(b"", self.seen).decode(errors="replace")

    def expect(self, words):
        """Waits for `words`, and forgets what came before."""
        began = time.monotonic()
        while words not in self.text():
            if time.monotonic() - began > WAIT_S:
                sys.exit(f"no {words!r} in:\n{self.text()}")
            self.read(0.2)
        self.seen = b""

    def type(self, text):
        os.write(self.screen, text.encode())

    def ended(self):
        began = time.monotonic()
        while time.monotonic() - began < WAIT_S:
            self.read(0.1)
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                while self.read(0.1):
                    pass
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        sys.exit("it does not end")

    def picture(self):
        """The lines of the screen as they are now, and the colours that text on it has."""
        import pyte

        screen = pyte.Screen(*self.size)
        pyte.ByteStream(screen).feed(self.all)
        colours = {cell.fg for line in screen.buffer.values() for cell in line.values()} - {"default"}
        return [line.rstrip() for line in screen.display], colours
