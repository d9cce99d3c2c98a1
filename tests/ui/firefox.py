"""Every page in Firefox: it appears, complains about nothing, and does one thing that people do.

Debian's Firefox speaks WebDriver BiDi by itself, so nothing drives it but the socket below.
"""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request

URL = os.environ["BROADLOOM_URL"]
PROGRAM = os.environ.get("BROADLOOM_FIREFOX", "firefox-esr")
WAIT_S = 60
LEFT = "error loading dynamically imported module"
RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
INDEX = "payment_methods_wallet_token_idx"


class Socket:
    """A WebSocket client (RFC 6455): text messages, whole or in parts."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert b" 101 " in head.split(b"\r\n")[0], head

    def take(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the browser is gone"
            data += part
        return data

    def send(self, text, kind=1):
        data, mask = text.encode() if isinstance(text, str) else text, os.urandom(4)
        length = struct.pack("!B", 128 | len(data)) if len(data) < 126 else struct.pack("!BH", 128 | 126, len(data)) if len(data) < 65_536 else struct.pack("!BQ", 128 | 127, len(data))
        self.socket.sendall(bytes([128 | kind]) + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))

    def receive(self):
        message = b""
        while True:
            first, second = self.take(2)
            size = second & 127
            size = struct.unpack("!H", self.take(2))[0] if size == 126 else struct.unpack("!Q", self.take(8))[0] if size == 127 else size
            data = self.take(size)
            if first & 15 == 9:
                self.send(data, 10)
            elif first & 15 in (0, 1):
                message += data
                if first & 128:
                    return json.loads(message)


class Browser:
    def __init__(self, profile):
        # A browser of its own asks nobody else for anything.
        with open(f"{profile}/user.js", "w") as preferences:
            for name in ("app.normandy.enabled", "app.update.enabled", "browser.shell.checkDefaultBrowser", "datareporting.policy.dataSubmissionEnabled", "toolkit.telemetry.enabled"):
                preferences.write(f'user_pref("{name}", false);\n')
        self.process = subprocess.Popen([PROGRAM, "--headless", "--remote-debugging-port=0", "--profile", profile], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TZ": "Europe/Berlin", "MOZ_HEADLESS": "1"})
        port = None
        while port is None:
            line = self.process.stderr.readline()
            assert line, "Firefox ended"
            found = re.search(r"WebDriver BiDi listening on ws://[^:]+:(\d+)", line)
            port = found and int(found[1])
        # What else it says must not fill the pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.socket = Socket(port, "/session")
        self.number = 0
        self.complaints = []
        self.ask("session.new", {"capabilities": {}})
        self.ask("session.subscribe", {"events": ["log.entryAdded"]})
        self.tab = self.ask("browsingContext.getTree", {})["contexts"][0]["context"]
        self.ask("browsingContext.setViewport", {"context": self.tab, "viewport": {"width": 1440, "height": 900}})

    def ask(self, method, params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = self.socket.receive()
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                # A page that is left while it loads says so; one that stays is seen not to appear.
                if LEFT not in message["params"]["text"]:
                    self.complaints.append(message["params"]["text"])
            if message.get("id") == self.number:
                assert message["type"] == "success", message
                return message["result"]

    def run(self, body):
        """The value of an asynchronous function in the page; `until(condition)` waits for a truthy one."""
        helper = f"const until = async (condition) => {{ const end = performance.now() + {WAIT_S * 1000}; for (;;) {{ const value = condition(); if (value) return value; if (performance.now() > end) throw new Error('waited in vain for ' + condition); await new Promise((done) => setTimeout(done, 20)); }} }};"
        result = self.ask("script.evaluate", {"expression": f"(async () => {{ {helper} {body} }})()", "target": {"context": self.tab}, "awaitPromise": True})
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return result["result"].get("value")

    def goto(self, path):
        self.ask("browsingContext.navigate", {"context": self.tab, "url": URL + path, "wait": "complete"})

    def close(self):
        self.ask("browser.close", {})
        self.process.wait(WAIT_S)


def rows(sql):
    request = urllib.request.Request(URL + "/v1/sql", sql.encode(), {"content-type": "text/plain"})
    return json.loads(urllib.request.urlopen(request).read())


def pages():
    """Addresses, text that is there when they are shown, and something to do: JavaScript that ends when it has happened."""
    slow = rows(f"select trace_id from logs where body like '%{INDEX}%' order by timestamp limit 1")[0]["trace_id"]
    other = rows(f"select trace_id from spans where name = 'POST /checkout' and parent_span_id is null and trace_id <> '{slow}' order by duration_ns limit 1")[0]["trace_id"]
    click = lambda selector: f"(await until(() => document.querySelector({selector!r}))).click();"
    sql = urllib.parse.quote("select count(*) as spans from spans")
    return {
        f"/?{RANGE}": ("payment", click(".operations tbody a") + "await until(() => location.pathname === '/traces');"),
        f"/explore?{RANGE}": ("Duration of", "const canvas = await until(() => document.querySelector('.heat-map canvas')); await until(() => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size > 8);"),
        f"/traces?{RANGE}": ("traces", click(".trace-list .list-row a") + "await until(() => document.querySelector('.wf-row'));"),
        f"/trace/{slow}": ("POST /checkout", "document.querySelector('.waterfall').dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true})); await until(() => document.querySelector('aside.detail dl.fields'));"),
        f"/trace/{slow}/vs/{other}": ("slower (×", click(".diff-list .list-row") + "await until(() => document.querySelector('.diff-fields'));"),
        f"/logs?{RANGE}": ("Log records over time", click(".log-list .list-row") + "await until(() => document.querySelector('aside.detail .attributes'));"),
        f"/logs?{RANGE}&patterns=1": ("patterns of", "await until(() => document.querySelector('.patterns canvas'));"),
        "/logs?live=1": ("as they come", ""),
        f"/sql#q={sql}": ("1 row", "await until(() => document.querySelector('.editor')?.shadowRoot?.querySelector('.cm-content') ?? document.querySelector('.cm-content'));"),
        f"/attributes?{RANGE}&key=cart.items": ("cart.items", "await until(() => document.querySelector('.distribution'));"),
        "/status": ("Ready.", "await until(() => document.querySelectorAll('.tile').length > 5);"),
    }


def main():
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        failed = 0
        for path, (words, act) in pages().items():
            try:
                browser.complaints.clear()
                browser.goto(path)
                browser.run(f"await until(() => document.querySelector('main .page') && !document.querySelector('[aria-busy]') && document.querySelector('main').innerText.includes({json.dumps(words)}));")
                assert browser.run("return document.documentElement.scrollWidth <= innerWidth;"), "it scrolls sideways"
                browser.run(act)
                assert not browser.complaints, browser.complaints
                print(f"ok   Firefox {path}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAIL Firefox {path}: {error}", flush=True)
        browser.close()
    sys.exit(1 if failed else 0)


main()
