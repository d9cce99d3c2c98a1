"""The demo's shop and its incident, as somebody on call meets them."""

import re
import urllib.parse

from browser import FILES, accessible, budget, expect, main, picture, rows, test

# Thirty minutes from 09:00; the incident begins after eighteen of them.
BEFORE_AND_AFTER = "t=2026-01-05T09:15:00Z..2026-01-05T09:30:00Z"
WHOLE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
INDEX = "payment_methods_wallet_token_idx"


def where(condition):
    return "where=" + urllib.parse.quote(condition)


def slow_trace():
    found = rows(f"select trace_id, span_id from logs where body like '%{INDEX}%' order by timestamp, trace_id limit 1")
    return found[0]["trace_id"], found[0]["span_id"]


@test
def the_overview_names_the_service_that_got_worse(tab):
    one = tab()
    page = one.goto(f"/?{BEFORE_AND_AFTER}")
    one.settled()
    expect(page.locator(".headline")).to_contain_text("worse than in the 15 minutes before")
    expect(page.locator(".headline")).to_contain_text("payment")
    row = page.get_by_role("region", name="Services", exact=True).get_by_role("row", name=re.compile("^payment"))
    expect(row.locator(".change")).to_contain_text("p99 ×")
    expect(page.get_by_role("region", name="Operations", exact=True).get_by_role("link", name="POST /checkout").first).to_be_visible()
    expect(page.get_by_role("region", name="Calls between services", exact=True).get_by_role("link", name="payment").first).to_be_visible()
    # A canvas that is not blank.
    assert page.locator("canvas.spark").first.evaluate("c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)")


@test
def from_the_overview_to_the_cause_by_mouse(tab):
    one = tab()
    page = one.goto(f"/?{BEFORE_AND_AFTER}")
    one.settled()
    page.get_by_role("region", name="Services", exact=True).get_by_role("link", name="payment", exact=True).click()
    expect(page.locator(".chip-text")).to_have_text("service.name = 'payment'")
    page.get_by_role("combobox", name="Order").select_option("slowest")
    one.settled()
    page.locator(".trace-list .list-row").first.get_by_role("link").click()
    waterfall = page.get_by_role("treegrid", name="Spans")
    find = page.get_by_role("searchbox", name="Find in this trace")
    find.fill("select payment_methods")
    find.press("Enter")
    expect(waterfall.locator(".wf-row.active .op")).to_have_text("SELECT payment_methods")
    expect(waterfall.get_by_text(INDEX)).to_be_visible()
    page.get_by_role("button", name="Critical path").click()
    expect(waterfall.get_by_text("SELECT payment_methods").first).to_be_visible()
    picture(page, "incident")


@test
def from_the_overview_to_the_cause_by_keyboard_alone(tab):
    one = tab()
    page = one.goto(f"/?{WHOLE}")
    one.settled()
    page.keyboard.press("g")
    page.keyboard.press("l")
    expect(page.get_by_role("heading", name="Logs", exact=True)).to_be_attached()
    one.settled()
    page.keyboard.press("/")
    page.keyboard.type("body contains wallet_token_idx")
    page.keyboard.press("Enter")
    expect(page.locator(".chip-text")).to_have_text("body like '%wallet\\_token\\_idx%'")
    one.settled()
    page.get_by_role("grid", name="Log records").focus()
    page.keyboard.press("j")
    detail = page.get_by_role("complementary", name="Log record")
    expect(detail.get_by_text(INDEX).first).to_be_visible()
    detail.get_by_role("link", name="Open trace").focus()
    page.keyboard.press("Enter")
    waterfall = page.get_by_role("treegrid", name="Spans")
    expect(waterfall.locator(".wf-row.active")).to_be_visible()
    before = page.locator(".wf-row.active").get_attribute("id")
    waterfall.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(waterfall.locator(".wf-row:visible")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    assert page.locator(".wf-row.active").get_attribute("id") != before
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")


@test
def whatever_is_pasted_opens_its_trace(tab):
    trace, span = slow_trace()
    for pasted in (trace, span, f"00-{trace}-{span}-01", f"2026-01-05 WARN slow query trace_id={trace} span_id={span} rows=7"):
        page = tab().goto("/sql")
        page.keyboard.press("Control+k")
        page.keyboard.type(pasted)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"/trace/{trace}"))
        expect(page.get_by_role("treegrid", name="Spans")).to_be_visible()
        if pasted != trace:
            expect(page.get_by_role("complementary", name="Span").get_by_text(span)).to_be_visible()


@test
def a_statement_runs_and_its_rows_are_those_of_the_api(tab):
    one = tab()
    sql = "select service.name, count(*) as spans from spans group by 1 order by 2 desc, 1"
    page = one.goto("/sql#q=" + urllib.parse.quote(sql))
    expect(page.get_by_role("textbox", name="SQL statement")).to_be_visible()
    one.settled()
    grid = page.get_by_role("grid", name="Rows")
    expected = rows(sql)
    expect(page.get_by_role("heading", name=f"{len(expected)} rows")).to_be_visible()
    first = grid.locator(".list-row").first
    expect(first).to_contain_text(expected[0]["service.name"])
    expect(first).to_contain_text(str(expected[0]["spans"]))
    first.click()
    expect(page.get_by_role("complementary", name="Row").get_by_text(expected[0]["service.name"])).to_be_visible()
    page.get_by_role("textbox", name="SQL statement").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("select 1 + 1 as two")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="1 row")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name=f"{len(expected)} rows")).to_be_visible()
    picture(page, "sql")


@test
def a_mistake_is_underlined_at_its_place_and_repaired_by_a_button(tab):
    one = tab()
    page = one.goto("/sql#q=" + urllib.parse.quote("select name,\n  http.rout from spans limit 5"))
    expect(page.get_by_role("alert").first).to_contain_text("http.route")
    underlined = page.locator(".editor .cm-lintRange-error")
    expect(underlined).to_have_text("http.rout")
    picture(page, "sql-mistake")
    page.locator(".verdict").get_by_role("button", name="http.route").click()
    expect(underlined).to_have_count(0)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name="5 rows")).to_be_visible()
    one.allowed.append("400")
    one.complaints[:] = [complaint for complaint in one.complaints if "400" not in complaint]


@test
def keys_of_attributes_are_completed(tab):
    page = tab().goto(f"/traces?{WHOLE}")
    field = page.get_by_role("combobox", name="Add a condition")
    field.fill("os.ver")
    expect(page.get_by_role("option", name="os.version")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("os.version ")
    page.keyboard.type("= 17.6.1")
    page.keyboard.press("Enter")
    expect(page.locator(".chip-text")).to_have_text(re.compile("os.version = "))
    field.fill("no.such.key = 1")
    page.keyboard.press("Enter")
    expect(page.locator(".where .field-error")).to_contain_text("no.such.key")
    expect(field).to_have_value("no.such.key = 1")


@test
def statements_are_completed_by_what_the_server_knows(tab):
    one = tab()
    page = one.goto("/sql")
    editor = page.get_by_role("textbox", name="SQL statement")
    budget("SQL editor until it takes keys", one.measure("editor"), 300)
    option = lambda words: page.locator(".cm-tooltip-autocomplete li").filter(has_text=words)

    def write(words):
        editor.press("Control+a")
        page.keyboard.type(words)

    write("select http.ro")
    expect(option("http.route").first).to_be_visible()
    write("select route")
    expect(option("http.route").first).to_be_visible()
    write("select * from heat")
    expect(option("heatmap(")).to_be_visible()
    # What is typed after the quote is asked about; the other quote is there already.
    write("select count(*) as n from spans where http.route = '/che")
    option("/checkout").first.click()
    expect(editor).to_contain_text("http.route = '/checkout'")
    # The statement is not right until it is whole.
    one.allowed.append("400")


@test
def more_rows_come_after_those_that_are_there(tab):
    one = tab()
    page = one.goto(f"/traces?{WHOLE}&order=slowest")
    foot = page.locator(".list-foot")
    expect(foot).to_contain_text("The first 100 of")
    grid = page.get_by_role("grid", name="Traces")
    first = grid.locator(".list-row").first.inner_text()
    asked = len(one.requests)
    foot.get_by_role("button", name="Show more").click()
    expect(foot).to_contain_text("The first 500 of")
    expect(page).to_have_url(re.compile("limit=500"))
    more = [url for url in one.requests[asked:] if "/v1/" in url]
    assert len(more) == 1 and "after=" in more[0], more
    assert grid.locator(".list-row").first.inner_text() == first
    # The address has all of them.
    page.reload()
    expect(foot).to_contain_text("The first 500 of")


@test
def a_slow_statement_tells_its_progress_and_ends_on_cancel(tab):
    one = tab()
    page = one.goto("/sql#q=" + urllib.parse.quote("select max(value) from generate_series(1, 1000000000000)"))
    expect(page.locator(".note.waiting")).to_contain_text(re.compile(r"\d s"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    # The server gives up what nobody waits for.
    expect_running(page, 0)


def expect_running(page, count):
    for _ in range(600):
        metrics = page.request.get("/metrics").text()
        if f"broadloom_queries_running {count}" in metrics:
            return
        page.evaluate("() => new Promise(requestAnimationFrame)")
    raise AssertionError(metrics)


@test
def every_panel_gives_the_numbers_of_its_statement(tab):
    one = tab()
    page = one.goto(f"/traces?{WHOLE}&{where('http.route = ' + chr(39) + '/checkout' + chr(39))}")
    one.settled()
    shown = page.locator(".results h2").inner_text()
    link = page.locator(".results").get_by_role("link", name="SQL").get_attribute("href")
    sql = urllib.parse.unquote(link.split("#q=")[1])
    assert shown == f"{rows(sql)[0]['remaining']:,} traces", shown
    page = one.goto(f"/logs?{WHOLE}")
    one.settled()
    for panel in (".results", ".course", ".facets"):
        link = page.locator(panel).locator(".panel-head a", has_text="SQL").get_attribute("href")
        assert rows(urllib.parse.unquote(link.split("#q=")[1])), panel


@test
def back_shows_what_was_there_without_a_request(tab):
    one = tab()
    page = one.goto(f"/logs?{WHOLE}")
    one.settled()
    first = page.locator(".log-list .list-row").first.inner_text()
    page.locator(".facet").first.get_by_role("button").first.click()
    expect(page.locator(".chip-text")).to_be_visible()
    one.settled()
    asked = len(one.requests)
    page.go_back()
    expect(page.locator(".chip-text")).to_have_count(0)
    one.settled()
    assert page.locator(".log-list .list-row").first.inner_text() == first
    more = [url for url in one.requests[asked:] if "/ui/" not in url]
    assert more == [], more


@test
def a_value_filters_wherever_it_stands(tab):
    one = tab()
    page = one.goto(f"/logs?{WHOLE}&{where('severity_number >= 13')}")
    one.settled()
    page.locator(".log-list .list-row").first.locator(".body").click()
    detail = page.get_by_role("complementary", name="Log record")
    detail.get_by_role("button", name="Actions for service.name", exact=True).click()
    page.get_by_role("menuitem", name="Only this value").click()
    expect(page.locator(".chip-text")).to_have_count(2)
    one.settled()
    page.locator(".chip-x").first.click()
    expect(page.locator(".chip-text")).to_have_count(1)


@test
def times_stand_in_the_zone_that_is_written_beside_them(tab):
    for zone, clock, name in (("America/New_York", "04:", "EST"), ("Asia/Kolkata", ":", "GMT+5:30"), ("Europe/Berlin", "10:", "CET")):
        one = tab(timezone_id=zone)
        page = one.goto(f"/logs?{WHOLE}")
        one.settled()
        head = page.locator(".log-list .list-head .time").inner_text()
        row = page.locator(".log-list .list-row .time").first
        assert name in head or "GMT" in head, (zone, head)
        assert clock in row.inner_text(), (zone, row.inner_text())
        full = row.get_attribute("title")
        assert re.search(r"\.\d{9} .*\(2026-01-05T09:\d\d:\d\d", full), full
        page.keyboard.press("u")
        expect(page.locator(".log-list .list-head .time")).to_contain_text("UTC")
        expect(row).to_contain_text("09:")


@test
def a_server_out_of_reach_is_told_and_waited_for(tab):
    one = tab()
    one.allowed.append("ERR_INTERNET_DISCONNECTED")
    page = one.goto(f"/logs?{WHOLE}")
    one.settled()
    one.context.set_offline(True)
    page.locator(".facet").first.get_by_role("button").first.click()
    expect(page.locator("#gone")).to_contain_text("cannot be reached")
    expect(page.locator(".log-list .list-row").first).to_be_visible()
    one.context.set_offline(False)
    expect(page.locator("#gone")).to_be_empty()
    one.settled()
    expect(page.locator(".log-list .list-row").first).to_be_visible()


@test
def every_page_is_accessible_and_fits_in_every_theme_and_width(tab):
    trace, span = slow_trace()

    def with_editor(one):
        expect(one.page.get_by_role("textbox", name="SQL statement")).to_be_visible()

    def with_span(one):
        expect(one.page.get_by_role("complementary", name="Span").get_by_text(span)).to_be_visible()

    accessible(tab, {
        "overview": f"/?{BEFORE_AND_AFTER}", "traces": f"/traces?{WHOLE}&order=slowest", "spans": f"/traces?{WHOLE}&of=spans&{where('status = ' + chr(39) + 'error' + chr(39))}",
        "trace": (f"/trace/{trace}?span={span}", with_span), "logs": f"/logs?{WHOLE}&{where('severity_number >= 13')}",
        "sql": ("/sql#q=" + urllib.parse.quote("select * from spans order by timestamp limit 100"), with_editor), "attributes": f"/attributes?{WHOLE}",
    })


@test
def the_first_page_is_small_and_quick(tab):
    one = tab()
    page = one.goto(f"/?{WHOLE}")
    one.settled()
    files = page.evaluate("() => performance.getEntriesByType('resource').filter(e => e.name.includes('/ui/')).map(e => [e.name, e.transferSize])")
    transferred = sum(size for _, size in files) / 1000
    budget("files of the first page", len(files), 45, "files")
    budget("first page on the wire", transferred, 110, "kB")
    assert len(files) <= 45, len(files)
    # Files from the disk come as they are, those of the server packed.
    assert FILES is not None or transferred <= 110 * 1.25, transferred
    paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    budget("first contentful paint", paint, 700)


main()
