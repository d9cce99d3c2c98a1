"""Traces of any shape and size, and text that wants to be more than text."""

import time

from browser import budget, expect, main, picture, post, rows, test

START = 1_767_603_600_000_000_000  # 2026-01-05T09:00:00Z
RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T16:00:00Z"
CHUNK = 10_000


def span(trace, number, parent, start, duration, name="work", **more):
    return {
        "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "parentSpanId": f"{parent:016x}" if parent else "", "name": name, "kind": 1,
        "startTimeUnixNano": str(START + start), "endTimeUnixNano": str(START + start + duration), **more,
    }


def text(key, value):
    return {"key": key, "value": {"stringValue": value}}


def send(spans, service="odd"):
    for at in range(0, len(spans), CHUNK):
        resource = {"attributes": [text("service.name", service)]}
        post("/v1/traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans[at : at + CHUNK]}]}]})


def waterfall(page):
    return page.get_by_role("treegrid", name="Spans")


def names(page):
    return [one.strip() for one in waterfall(page).locator(".wf-row:visible .op").all_text_contents()]


@test
def odd_traces_are_shown_as_they_are(tab):
    one = tab()
    shapes = {
        1: ([span(1, 2, 9, 5, 5)], "the root span is missing"),
        2: ([span(2, 1, 0, 0, 9, "first"), span(2, 2, 0, 10, 9, "second")], "2 spans have no parent"),
        3: ([span(3, 1, 2, 0, 9, "hen"), span(3, 2, 1, 1, 9, "egg")], "1 circle of parents"),
        4: ([span(4, 1, 0, 10, 9, "parent"), span(4, 2, 1, 5, 9, "early")], "clocks differ"),
        5: ([span(5, 1, 0, 0, 0, "no time at all")], None),
        6: ([span(6, 1, 0, 0, 18_000_000_000_000, "five hours"), span(6, 2, 1, 1000, 1000, "a microsecond")], None),
    }
    for trace, (spans, note) in shapes.items():
        send(spans)
        page = one.goto(f"/trace/{trace:032x}")
        expect(waterfall(page).locator(".wf-row:visible")).to_have_count(len(spans))
        assert sorted(names(page)) == sorted(one["name"] for one in spans)
        if note:
            expect(page.get_by_text(note)).to_be_visible()
        picture(page, f"odd-{trace}")
    # A microsecond in five hours: zoomed in, its bar is wide.
    waterfall(page).get_by_text("a microsecond").click()
    waterfall(page).press("z")
    bar = waterfall(page).locator(".wf-row.active .bar-cell .bar")
    expect(bar).to_be_visible()
    assert bar.bounding_box()["width"] > 300, bar.bounding_box()
    assert not one.axe(), one.axe()


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202etxt.exe\u0000"


@test
def hostile_telemetry_is_inert_and_legible(tab):
    attributes = [text("link.bad", "javascript:alert(1)"), text("link.good", "https://example.org/x"), text("formula", "=1+1"), text("large", "x" * 200_000), text(HOSTILE[:40], HOSTILE)]
    send([span(9, 1, 0, 0, 5_000_000, HOSTILE, attributes=attributes, status={"code": 2, "message": HOSTILE})], HOSTILE)
    log = {"timeUnixNano": str(START), "severityNumber": 17, "body": {"stringValue": HOSTILE}, "traceId": f"{9:032x}", "spanId": f"{1:016x}"}
    post("/v1/logs", {"resourceLogs": [{"resource": {"attributes": [text("service.name", HOSTILE)]}, "scopeLogs": [{"logRecords": [log]}]}]})
    one = tab()
    one.page.on("dialog", lambda dialog: one.complaints.append(f"dialog: {dialog.message}"))
    for path in (f"/?{RANGE}", f"/traces?{RANGE}", f"/traces?of=spans&{RANGE}", f"/logs?{RANGE}", f"/logs?{RANGE}&patterns=1", f"/trace/{9:032x}/vs/{9:032x}?only=all", f"/attributes?{RANGE}&key=formula", f"/explore?{RANGE}&by=name", "/attributes", f"/trace/{9:032x}?span={1:016x}"):
        page = one.goto(path)
        one.settled()
        expect(page.get_by_text("<img src=x", exact=False).first).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
        assert "\u202e" not in page.inner_text("main"), path
    detail = page.get_by_role("complementary", name="Span")
    expect(detail.get_by_text("\\u202etxt.exe", exact=False).first).to_be_visible()
    assert detail.get_by_role("link", name="javascript").count() == 0
    good = detail.get_by_role("link", name="https://example.org/x")
    assert "noreferrer" in good.get_attribute("rel")
    expect(detail.get_by_role("button", name="Show all 200000 characters")).to_be_visible()
    picture(page, "hostile")
    assert not one.axe(), one.axe()

    page = one.goto("/sql#q=" + "select formula from spans where formula is not null".replace(" ", "%20"))
    one.settled()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert open(download.value.path(), newline="").read() == "formula\r\n'=1+1\r\n"


@test
def a_trace_of_five_thousand_levels_opens_and_folds(tab):
    send([span(7, i, i - 1, i, 10_000 - i, f"level {i}") for i in range(1, 5001)])
    page = tab().goto("/trace/" + f"{7:032x}")
    expect(page.get_by_text("5,000 spans")).to_be_visible()
    waterfall(page).focus()
    page.keyboard.press("End")
    expect(waterfall(page).get_by_text("level 5000", exact=True)).to_be_visible()
    page.get_by_role("button", name="Fold all").click()
    expect(waterfall(page).locator(".wf-row:visible")).to_have_count(2)


@test
def a_trace_of_100_000_spans_is_within_its_budget(tab):
    count = 100_000
    services = ["shop", "cart", "stock", "pay"]
    for part, service in enumerate(services):
        mine = [
            span(8, i, 0 if i == 1 else max(1, i // 4), i * 1000, (count - i) * 1000, f"step {i % 50}", status={"code": 2 if i % 250 == 0 else 1})
            for i in range(1, count + 1)
            if i % len(services) == part
        ]
        send(mine, service)
    rows("select count(*) from spans")
    one = tab()
    page = one.goto("/trace/" + f"{8:032x}")
    expect(page.get_by_text("100,000 spans")).to_be_visible()
    budget("first rows of 100,000 spans", one.measure("trace-first-rows"), 300)
    budget("all rows of 100,000 spans", one.measure("trace-all-rows"), 1500)
    budget("minimap of 100,000 spans", one.measure("minimap"), 30)
    page.get_by_role("button", name="Fold all").click()
    expect(waterfall(page).locator(".wf-row:visible")).not_to_have_count(0)
    budget("folding 100,000 spans", one.measure("fold-all"), 30)
    page.get_by_role("button", name="Unfold all").click()
    field = page.get_by_role("searchbox", name="Find in this trace")
    field.fill("step 49")
    expect(page.get_by_text("2,000 matches")).to_be_visible()
    budget("finding in 100,000 spans", one.measure("find"), 30)
    field.press("Enter")
    expect(waterfall(page).locator(".wf-row.active .op")).to_have_text("step 49")
    waterfall(page).focus()
    page.keyboard.press("e")
    expect(waterfall(page).locator(".wf-row.active .flags")).to_contain_text("error")
    scrolled = waterfall(page).evaluate("""async box => {
        const frame = () => new Promise(requestAnimationFrame);
        const [top, times] = [box.scrollTop, []];
        for (let before = await frame(); times.length < 120;) {
            box.scrollTop += 400;
            const now = await frame();
            times.push(now - before);
            before = now;
        }
        return {px: box.scrollTop - top, p95: times.sort((a, b) => a - b)[113]};
    }""")
    assert scrolled["px"] > 10_000, scrolled
    budget("scrolling 100,000 spans, 95 % of frames", scrolled["p95"], 25)
    budget("memory of the page with 100,000 spans", page.evaluate("() => performance.memory.usedJSHeapSize") / 1e6, 60, "MB")
    nodes = page.evaluate("() => document.querySelectorAll('*').length")
    budget("elements of the page", nodes, 1500, "elements")
    transferred = page.evaluate("() => performance.getEntriesByType('resource').filter(e => e.name.includes('/rows')).map(e => e.transferSize)[0]")
    budget("the trace on the wire", transferred / 1000, 800, "kB")
    picture(page, "trace-100000")

    deep = tab()
    page = deep.goto(f"/trace/{8:032x}?span={99_999:016x}")
    expect(waterfall(page).locator(".wf-row.active")).to_be_visible()
    expect(page.locator("aside.detail code, aside.detail .value", has_text=f"{99_999:016x}").first).to_be_visible()


main()
