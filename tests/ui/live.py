"""Rows as they come: on the screen soon, never moving what is read, bounded, and quiet while nobody looks."""

import re
import time
import uuid

from browser import accessible, budget, expect, main, picture, post, test


def text(key, value):
    return {"key": key, "value": {"stringValue": value}}


def send_logs(service, bodies, severity=9, at=None, step=1):
    at = time.time_ns() if at is None else at
    records = [{"timeUnixNano": str(at + i * step), "severityNumber": severity, "body": {"stringValue": body}} for i, body in enumerate(bodies)]
    resource = {"attributes": [text("service.name", service)]}
    post("/v1/logs", {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})


def send_span(trace, number, parent, name, duration=5_000_000, at=None):
    start = time.time_ns() - duration if at is None else at
    span = {
        "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "parentSpanId": f"{parent:016x}" if parent else "", "name": name, "kind": 2,
        "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + duration),
    }
    post("/v1/traces", {"resourceSpans": [{"resource": {"attributes": [text("service.name", "till")]}, "scopeSpans": [{"spans": [span]}]}]})


def message(page, words):
    return page.get_by_role("grid", name="Log records as they come").get_by_text(words, exact=True)


@test
def records_appear_as_they_come_and_the_condition_holds(tab):
    send_logs("till", ["before anybody looked"])
    one = tab()
    page = one.goto("/logs")
    page.get_by_role("button", name="Live").click()
    expect(page).to_have_url(re.compile("live=1"))
    expect(page.get_by_role("group", name="Time range")).to_be_hidden()
    expect(message(page, "before anybody looked")).to_be_visible()
    began = time.monotonic()
    send_logs("till", ["just now"])
    expect(message(page, "just now")).to_be_visible()
    budget("on the screen after it was sent", (time.monotonic() - began) * 1000, 1000)
    # However late it is.
    send_logs("till", ["late"], at=time.time_ns() - 5_000_000_000)
    expect(message(page, "late")).to_be_visible()
    send_logs("till", ["a day late"], at=time.time_ns() - 86_400_000_000_000)
    expect(message(page, "a day late")).to_be_visible()
    # Twice the same is two records.
    send_logs("till", ["twice", "twice"], step=0)
    expect(message(page, "twice")).to_have_count(2)
    field = page.get_by_role("combobox", name="Add a condition")
    broken = f"broken {uuid.uuid4().hex}"
    field.fill(f"severity_number >= 17 and body = '{broken}'")
    field.press("Enter")
    expect(page.locator(".chip-text")).to_have_count(2)
    expect(message(page, "just now")).to_be_hidden()
    expect(page.get_by_text("Nothing came in the last")).to_be_visible()
    send_logs("till", ["fine"])
    send_logs("till", [broken], severity=17)
    expect(message(page, broken)).to_be_visible()
    expect(message(page, "fine")).to_be_hidden()
    page.reload()
    expect(message(page, broken)).to_be_visible()
    # Out of it: the range that one has just seen.
    page.get_by_role("button", name="Live").click()
    expect(page).to_have_url(re.compile("t=15m&at="))
    expect(page.get_by_role("grid", name="Log records").get_by_text(broken)).to_be_visible()


@test
def what_is_read_does_not_move(tab):
    send_logs("till", [f"line {i}" for i in range(100)])
    one = tab()
    page = one.goto("/logs?live=1")
    grid = page.get_by_role("grid", name="Log records as they come")
    expect(message(page, "line 99")).to_be_visible()
    news = page.get_by_role("button", name=re.compile("new ↑$"))

    def held(count, bodies):
        """New rows are counted, and those that are seen stay where they are."""
        before = [(row.inner_text(), row.bounding_box()) for row in grid.locator(".list-row:visible").all()[:10]]
        send_logs("till", bodies)
        expect(news).to_have_text(f"{count} new ↑")
        assert before == [(row.inner_text(), row.bounding_box()) for row in grid.locator(".list-row:visible").all()[:10]]

    # Scrolled.
    grid.evaluate("box => new Promise(done => { box.scrollTop = 500; requestAnimationFrame(() => requestAnimationFrame(done)); })")
    held(2, ["while scrolled", "while scrolled, too"])
    picture(page, "live-held")
    assert not one.axe(), one.axe()
    news.click()
    expect(message(page, "while scrolled, too")).to_be_visible()
    assert grid.evaluate("box => box.scrollTop") == 0
    # Paused by key.
    page.mouse.move(5, 5)
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    held(1, ["while paused"])
    page.keyboard.press(" ")
    expect(message(page, "while paused")).to_be_visible()
    # Pointed at.
    grid.hover()
    held(1, ["while pointed at"])
    page.mouse.move(5, 5)
    expect(message(page, "while pointed at")).to_be_visible()
    # One is chosen.
    message(page, "while pointed at").click()
    page.mouse.move(5, 5)
    expect(page.get_by_role("complementary", name="Log record").get_by_text("while pointed at")).to_be_visible()
    held(1, ["while one is open"])
    page.keyboard.press("Escape")
    expect(message(page, "while one is open")).to_be_visible()


@test
def more_than_can_be_shown_is_said_and_kept_within_bounds(tab):
    one = tab()
    page = one.goto("/logs?live=1")
    expect(page.locator(".live-state")).to_contain_text("live")
    for part in range(6):
        send_logs("flood", [f"{part} drop {i}" for i in range(2500)])
    expect(page.get_by_text("More come than can be shown")).to_be_visible()
    grid = page.get_by_role("grid", name="Log records as they come")
    expect(grid).not_to_have_attribute("aria-rowcount", "1")
    assert int(grid.get_attribute("aria-rowcount")) <= 10_001
    assert page.evaluate("() => document.querySelectorAll('*').length") < 1500


@test
def nobody_asks_while_the_page_is_hidden(tab):
    one = tab()
    one.page.clock.install()
    page = one.goto("/logs?live=1")
    expect(page.locator(".live-state")).to_contain_text("live")
    page.evaluate("() => { Object.defineProperty(document, 'hidden', {value: true, configurable: true}); document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator(".live-state")).to_contain_text("stopped while not in view")
    one.settled()
    page.wait_for_load_state("networkidle")
    asked = len(one.requests)
    send_logs("till", ["unseen"])
    page.clock.run_for(30_000)
    assert one.requests[asked:] == [], one.requests[asked:]
    page.evaluate("() => { Object.defineProperty(document, 'hidden', {value: false}); document.dispatchEvent(new Event('visibilitychange')); }")
    expect(message(page, "unseen")).to_be_visible()
    # And nobody asks from another page.
    page.get_by_role("link", name="SQL", exact=True).first.click()
    expect(page.get_by_role("textbox", name="SQL statement")).to_be_visible()
    asked = len(one.requests)
    page.clock.run_for(30_000)
    assert [url for url in one.requests[asked:] if "/v1/sql" in url] == []


@test
def traces_grow_while_one_watches(tab):
    trace = uuid.uuid4()
    order, charge, later = (f"{name} {trace.hex[:8]}" for name in ("POST /order", "charge", "GET /later"))
    one = tab()
    page = one.goto("/traces?live=1")
    send_span(trace.int, 1, 0, order)
    grid = page.get_by_role("grid", name="As they come")
    row = grid.locator(".list-row", has_text=order)
    expect(row).to_have_count(1)
    expect(row.locator(".spans")).to_have_text("1")
    send_span(trace.int, 2, 1, charge)
    expect(row.locator(".spans")).to_have_text("2")
    expect(row).to_have_count(1)
    page.get_by_role("button", name="Spans", exact=True).click()
    expect(grid.locator(".list-row", has_text=charge)).to_be_visible()
    send_span(uuid.uuid4().int, 3, 0, later)
    expect(grid.locator(".list-row", has_text=later)).to_be_visible()
    grid.get_by_role("link", name=later).click()
    expect(page.get_by_role("treegrid", name="Spans")).to_be_visible()


@test
def live_views_are_accessible_and_fit(tab):
    send_logs("till", ["an ordinary record", "a long one " + "x" * 500])
    send_span(uuid.uuid4().int, 4, 0, "GET /pictures")
    seen = lambda words: lambda one: expect(one.page.locator(".live").get_by_text(words).first).to_be_visible()
    accessible(tab, {"live-logs": ("/logs?live=1", seen("an ordinary record")), "live-traces": ("/traces?live=1", seen("GET /pictures"))})


main()
