"""Runs functions of a test file in a browser, each in a context of its own, and says which failed.

A test also fails on a console error, an uncaught exception, a violation of the page's policy, and a request to another
host. Waiting is Playwright's, never a sleep; the time limits are generous, since machines are shared.
BROADLOOM_UI_FILES=src/server/ui takes the page's files from there, whatever the server was built with.
"""

import json
import os
import re
import sys
import time
import traceback
import urllib.request

from playwright.sync_api import expect, sync_playwright

URL = os.environ["BROADLOOM_URL"]
FILES = os.environ.get("BROADLOOM_UI_FILES")
WAIT_MS = 60_000
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
expect.set_options(timeout=WAIT_MS)

tests = []


def test(function):
    tests.append(function)
    return function


def post(path, body, kind="application/json"):
    request = urllib.request.Request(URL + path, body if isinstance(body, bytes) else json.dumps(body).encode(), {"content-type": kind})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"{}")


def rows(sql):
    return post("/v1/sql", sql.encode(), "text/plain")


def from_disk(route):
    """Answers requests for the page and its files with those on disk, under the page's policy."""
    path = route.request.url.removeprefix(URL).split("?")[0].split("#")[0]
    pages = re.findall(r'^ {4}\("(/[^"]*)", "pages/', open(f"{FILES}/assets.rs").read(), re.M)
    policy = re.sub(r"\\\n\s*", "", re.search(r'const POLICY: &str = "(.*?)";', open(f"{FILES}/mod.rs").read(), re.S)[1])
    if path.startswith("/ui/"):
        name = path.split("/", 3)[3]
        route.fulfill(path=f"{FILES}/{'' if name.startswith('vendor/') else 'web/'}{name}")
    elif not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", page), path) for page in pages):
        route.fallback()
    else:
        styles = "".join(f'<link rel="stylesheet" href="/ui/disk/{name}">' for name in sorted(os.listdir(f"{FILES}/web")) if name.endswith(".css"))
        document = open(f"{FILES}/web/index.html").read().replace("STYLES\n", styles).replace("PRELOADS\n", "").replace("VERSION", "disk")
        route.fulfill(body=document, content_type="text/html; charset=utf-8", headers={"content-security-policy": policy})


class Tab:
    """A page in a context of its own, and what it complained about."""

    def __init__(self, browser, size="wide", theme="light", **options):
        width, height = SIZES[size]
        options = {"timezone_id": "Europe/Berlin", "locale": "en-GB", **options}
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, base_url=URL, **options)
        self.context.set_default_timeout(WAIT_MS)
        self.complaints = []
        self.requests = []
        self.allowed = []
        if FILES:
            # A document that no server has sent is of another network than the server.
            self.context.grant_permissions(["local-network-access"])
            self.context.route(lambda url: url.startswith(URL) and not url.startswith(f"{URL}/v1/"), from_disk)
        self.page = self.context.new_page()
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", self.asked)

    def heard(self, message):
        if message.type == "error" and not any(re.search(one, message.text) for one in self.allowed):
            self.complaints.append(message.text)

    def asked(self, request):
        self.requests.append(request.url)
        if not request.url.startswith((URL, "data:", "blob:")):
            self.complaints.append(f"asked {request.url}")

    def goto(self, path):
        self.page.goto(path)
        return self.page

    def settled(self):
        """Waits until the page is there and no panel of it is waiting."""
        expect(self.page.locator("main .page")).to_be_visible()
        expect(self.page.locator("[aria-busy]")).to_have_count(0)
        return self.page

    def measure(self, name):
        """Milliseconds of the page's own measure of that name, waited for by polling its entries."""
        began = time.monotonic()
        while time.monotonic() - began < WAIT_MS / 1000:
            found = self.page.evaluate("name => performance.getEntriesByName(name).map(e => e.duration).at(-1)", name)
            if found is not None:
                return found
            self.page.evaluate("() => new Promise(requestAnimationFrame)")
        raise AssertionError(f"no measure {name}")

    def axe(self, rules=None):
        """What axe-core finds, of all rules or some."""
        # By the debugger's protocol: the policy of the page lets no other script in.
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(open(os.environ["BROADLOOM_AXE"]).read() + "\n;undefined")
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        return self.page.evaluate("options => axe.run(document, options).then(r => r.violations.map(v => `${v.id}: ${v.nodes.length} × ${v.nodes[0].html.slice(0, 200)} ${v.nodes[0].failureSummary.slice(0, 300)}`))", options)

    def close(self):
        self.context.close()


# Rules that see the colours; what the others look at is the same in every theme.
OF_THEMES = ["color-contrast", "link-in-text-block"]
# What may be smaller than a finger: rows of lists and tables have other ways to what their buttons do.
CROWDED = ".virtual-inner, .chip, .field, .find, .group-cell, .off-screen"


def accessible(tab, cases, prepare=lambda one: None):
    """Looks at pages in every theme and width: nothing that axe-core finds, nothing that scrolls sideways, and on phones
    targets for fingers. A case is an address, or an address and what brings its page into a state."""
    wrong = []
    for theme in ("light", "dark"):
        for size in SIZES:
            one = tab(size=size, theme=theme)
            # Sent once, not for each page.
            one.context.add_init_script(path=os.environ["BROADLOOM_AXE"])
            prepare(one)
            for name, case in cases.items():
                path, act = case if isinstance(case, tuple) else (case, lambda one: None)
                page = one.goto(path)
                one.settled()
                act(one)
                one.settled()
                picture(page, f"{name}-{size}-{theme}")
                wrong += [(name, size, theme, found) for found in one.axe(None if theme == "light" else OF_THEMES)]
                if not page.evaluate("() => document.documentElement.scrollWidth <= innerWidth && document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth"):
                    wrong.append((name, size, "scrolls sideways"))
                if size == "narrow":
                    small = page.evaluate("""crowded => [...document.querySelectorAll('button, select, input:not([type=checkbox])')].filter(e => {
                        const box = e.getBoundingClientRect();
                        return box.width > 0 && !e.closest(crowded) && (box.height < 39.5 || box.width < 24);
                    }).map(e => e.outerHTML.slice(0, 120))""", CROWDED)
                    wrong += [(name, "too small", *small)] if small else []
    assert not wrong, "\n".join(map(str, wrong))


def budget(what, measured, allowed, unit="ms"):
    """Says what was measured; fails only far beyond, since machines are shared."""
    print(f"     {what}: {measured:.0f} {unit} (budget {allowed} {unit})")
    assert measured <= allowed * 10, f"{what} took {measured:.0f} {unit}, ten times the budget of {allowed}"


def picture(page, name):
    folder = os.environ.get("BROADLOOM_UI_PICTURES")
    if folder:
        os.makedirs(folder, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png")


def main():
    wanted = sys.argv[1:]
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("BROADLOOM_CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"])
        for function in tests:
            if wanted and function.__name__ not in wanted:
                continue
            opened = []

            def tab(*args, **options):
                opened.append(Tab(browser, *args, **options))
                return opened[-1]

            began = time.monotonic()
            try:
                function(tab)
                for one in opened:
                    assert not one.complaints, one.complaints
                print(f"ok   {function.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL {function.__name__}\n{traceback.format_exc()}", flush=True)
                for one in opened:
                    print(f"     complaints: {one.complaints}", flush=True)
                    picture(one.page, f"failed-{function.__name__}")
            finally:
                for one in opened:
                    one.close()
        browser.close()
    sys.exit(1 if failed else 0)
