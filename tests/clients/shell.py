"""Uses `broadloom sql` in a pseudo-terminal, as a person does: types, completes, interrupts, leaves.

shell.py PROGRAM ARGUMENT...   with BROADLOOM_HISTORY set to a file that may be written
"""

import os
import sys

from terminal import Terminal

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
