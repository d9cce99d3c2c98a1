"""Uses `broadloom sql` in a pseudo-terminal, as a person does: types, completes, interrupts, leaves.

shell.py PROGRAM ARGUMENT...   with BROADLOOM_HISTORY set to a file that may be written
"""

import os
import pty
import re
import select
import signal
import sys
import time

WAIT_S = 120
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A program in a terminal of 100 columns and 40 rows."""

    def __init__(self, command):
        self.process, self.screen = pty.fork()
        if self.process == 0:
            os.environ.update(TERM="xterm-256color", PAGER="cat", COLUMNS="100", LINES="40")
            os.execv(command[0], command)
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.seen = b""

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
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        sys.exit("it does not end")


terminal = Terminal(sys.argv[1:])


def prompt():
    """Waits for the next prompt: what is typed earlier belongs to nobody."""
    terminal.expect("broadloom> ")


terminal.expect("\\q to leave")
prompt()

# A statement of two lines.
terminal.type("select count(*) as spans_there\r")
terminal.expect("… ")
terminal.type("from spans;\r")
terminal.expect("Time:")
prompt()

# Completion of a table, an attribute and a value.
terminal.type("select count(*) as n from span_e\t")
terminal.expect("span_events")
terminal.type("\x15select max(duration_ns) as longest from spans where service.na\t")
terminal.expect("service.name")
terminal.type(" = 'ca\t")
terminal.expect("cart'")
terminal.type(";\r")
terminal.expect("Time:")
prompt()

# A mistake is shown at its place, and the session goes on.
terminal.type("select nam from spans;\r")
terminal.expect("did you mean name")
prompt()

# Commands.
terminal.type("\\d\r")
terminal.expect("service_graph")
prompt()
terminal.type("\\x on\r")
terminal.expect("Each row is a list.")
prompt()
terminal.type("select 1 as one, 2 as two;\r")
terminal.expect("── row 1 ──")
prompt()
terminal.type("\\nothing\r")
terminal.expect("there is no command \\nothing")
prompt()

# Ctrl-C ends the statement and not the session.
terminal.type("select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b;\r")
terminal.expect("Ctrl-C ends it")
terminal.type("\x03")
terminal.expect("the statement was ended by Ctrl-C")
prompt()
terminal.type("select 42 as alive;\r")
terminal.expect("Time:")
prompt()

terminal.type("\\q\r")
if status := terminal.ended():
    sys.exit(f"ended with {status}")
with open(os.environ["BROADLOOM_HISTORY"]) as history:
    assert "select 42 as alive" in history.read()
