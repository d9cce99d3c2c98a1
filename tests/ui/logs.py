"""Log records around one, from a record to its trace and back, and records by pattern."""

import re
import urllib.parse

from browser import accessible, expect, main, rows, test

RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
INDEX = "payment_methods_wallet_token_idx"
WARNINGS = "where=" + urllib.parse.quote("severity_number >= 13")


def slow_query():
    return rows(f"select timestamp, trace_id, span_id, service.instance.id as instance from logs where body like '%{INDEX}%' order by timestamp limit 1")[0]


def around(page):
    return page.get_by_role("grid", name="Records around it")


def to_context(one):
    """Opens the records around the slow query."""
    page = one.goto(f"/logs?{RANGE}&where=" + urllib.parse.quote(f"body like '%{INDEX}%'") + "&limit=100")
    one.settled()
    page.keyboard.press("Escape")
    page.get_by_role("grid", name="Log records").focus()
    page.keyboard.press("End")
    page.get_by_role("complementary", name="Log record").get_by_role("link", name="Around it").click()
    expect(around(page).locator(".is-it")).to_contain_text(INDEX)
    one.settled()
    return page


def statement(page, panel=".results"):
    return urllib.parse.unquote(page.locator(panel).locator(".panel-head a", has_text="SQL").get_attribute("href").split("#q=")[1])


def bodies(page):
    return [row.locator(".body").inner_text() for row in around(page).locator(".list-row:visible").all()]


@test
def the_records_before_and_after_one_are_those_of_its_instance(tab):
    one = tab()
    page = to_context(one)
    record = slow_query()
    expected = rows(f"select body from logs where service.instance.id = '{record['instance']}' order by timestamp, trace_id, span_id")
    expect(page.get_by_role("button", name="Same instance")).to_have_attribute("aria-pressed", "true")
    shown = rows(statement(page))
    assert [row["body"] for row in shown] == [row["body"] for row in expected]
    before = sum(row["timestamp"] < record["timestamp"] for row in shown)
    expect(page.get_by_role("heading", name=re.compile("Around this record"))).to_have_text(f"Around this record: {before} earlier, {len(shown) - before - 1} later")
    # The record is the one without an offset; those above it are before it.
    expect(around(page).locator(".is-it .offset")).to_have_text("0")
    offsets = [cell.inner_text() for cell in around(page).locator(".list-row:visible .offset").all()]
    assert [text[0] for text in offsets] == sorted((text[0] for text in offsets), key="−0+".index), offsets
    # The address is all that it needs.
    page.reload()
    expect(around(page).locator(".is-it")).to_contain_text(INDEX)
    expect(page.get_by_role("complementary", name="Log record").get_by_text(INDEX).first).to_be_visible()


@test
def earlier_and_later_records_come_without_moving_what_is_read(tab):
    one = tab()
    page = to_context(one)
    page.get_by_role("button", name="All services").click()
    one.settled()
    assert "around=all" in page.url
    words = page.get_by_role("heading", name=re.compile("Around this record"))
    expect(words).to_have_text("Around this record: 50 earlier, 50 later")
    expect(around(page).locator(".is-it")).to_be_visible()
    top = lambda: around(page).evaluate("""box => { const head = box.querySelector('.list-head').getBoundingClientRect().bottom;
        return [...box.querySelectorAll('.list-row')].filter(row => !row.hidden && row.getBoundingClientRect().bottom > head).sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)[0].innerText; }""")
    before = top()
    page.get_by_role("button", name="Earlier").click()
    expect(words).to_contain_text("250 earlier")
    one.settled()
    assert top() == before
    page.get_by_role("button", name="Later").click()
    expect(words).to_contain_text("250 later")
    one.settled()
    assert top() == before
    # A record without neighbours on one side says so, and how far it looked.
    page.get_by_role("button", name="Same trace").click()
    one.settled()
    expect(page.get_by_text("None earlier within a day.")).to_be_visible()
    page.get_by_role("button", name="Look further").first.click()
    expect(page.get_by_text("None earlier.", exact=True)).to_be_visible()
    trace = slow_query()["trace_id"]
    assert len(rows(statement(page))) == rows(f"select count(*) as n from logs where trace_id = '{trace}'")[0]["n"]
    page.get_by_role("link", name="‹ All records").click()
    expect(page.get_by_role("grid", name="Log records")).to_be_visible()


@test
def from_a_record_to_its_trace_and_back(tab):
    one = tab()
    page = to_context(one)
    page.get_by_role("complementary", name="Log record").get_by_role("link", name="Open trace").click()
    waterfall = page.get_by_role("treegrid", name="Spans")
    expect(waterfall.locator(".wf-row.active .op")).to_have_text("SELECT payment_methods")
    # Its records stand in the waterfall; one of them opens with its span.
    waterfall.get_by_text(INDEX).click()
    detail = page.get_by_role("complementary", name="Span")
    expect(detail.locator("details[open]").get_by_text(INDEX).last).to_be_visible()
    expect(waterfall.locator(".wf-row.active")).to_contain_text(INDEX)
    detail.get_by_role("link", name="Around it").first.click()
    expect(around(page).locator(".is-it")).to_contain_text(INDEX)
    page.go_back()
    trace = slow_query()["trace_id"]
    count = rows(f"select count(*) as n from logs where trace_id = '{trace}'")[0]["n"]
    page.get_by_role("link", name=f"{count} log records").click()
    one.settled()
    expect(page.get_by_text(f"All {count} records")).to_be_visible()


@test
def a_record_that_is_gone_says_so(tab):
    one = tab()
    for address in (f"/logs?{RANGE}&event=2026-01-05T09:20:00Z~00000000", "/logs?event=2026-01-05T09:20:00Z~00000000&around=service"):
        page = one.goto(address)
        expect(page.get_by_text("This record is not here.").first).to_be_visible()
        one.settled()


@test
def patterns_are_of_every_record_and_become_conditions(tab):
    one = tab()
    page = one.goto(f"/logs?{RANGE}")
    one.settled()
    page.get_by_role("button", name="Patterns").click()
    one.settled()
    table = page.get_by_role("region", name="Patterns")
    found = rows(statement(page, ".results"))
    total = rows("select count(*) as n from logs where timestamp >= '2026-01-05T09:00:00Z' and timestamp < '2026-01-05T09:30:00Z'")[0]["n"]
    assert sum(row["records"] for row in found) == total == found[0]["all_records"], (total, found[0])
    expect(page.get_by_role("heading", name=f"{len(found)} patterns of {total:,} records")).to_be_visible()
    # Numbers, ids and hexadecimal digits are holes; what is between them is not.
    slow = next(row for row in found if INDEX in row["pattern"])
    assert slow["pattern"] == f"slow query: SELECT payment_methods took <n> ms: sequential scan of <n> rows, index {INDEX} does not exist", slow
    line = table.get_by_role("row", name=re.compile("slow query"))
    expect(line.locator(".hole")).to_have_text(["n", "n"])
    expect(line).to_contain_text("new")
    expect(line.locator("canvas")).to_have_count(1)
    for row in found[:5] + [slow]:
        same = next(one for one in table.get_by_role("row").all()[1:] if one.locator(".number").first.inner_text() == f"{row['records']:,}" and one.locator(".pattern").inner_text().replace("\n", "") == re.sub("<(n|hex|uuid|time)>", r"\1", row["pattern"]).replace("\n", ""))
        href = same.locator(".pattern-text").get_attribute("href")
        condition = urllib.parse.parse_qs(urllib.parse.urlsplit(href).query)["where"][0]
        assert rows(f"select count(*) as n from logs where ({condition})")[0]["n"] == row["records"], condition
    line.get_by_role("button", name="≠").click()
    expect(page.locator(".chip-text")).to_be_visible()
    one.settled()
    expect(table.get_by_role("row", name=re.compile("slow query"))).to_have_count(0)
    assert rows(statement(page, ".results"))[0]["all_records"] == total - slow["records"]
    page.go_back()
    one.settled()
    line.locator(".pattern-text").click()
    expect(page.get_by_text(f"All {slow['records']} records")).to_be_visible()


@test
def views_of_logs_are_accessible_and_fit(tab):
    record = slow_query()
    context = to_context(tab()).url.split("/logs")[1]
    accessible(tab, {
        "logs-around": "/logs" + context, "logs-patterns": f"/logs?{RANGE}&patterns=1",
        "logs-record": f"/logs?{RANGE}&{WARNINGS}&event=" + re.search(r"event=([^&]+)", context)[1], "logs-gone": f"/logs?{RANGE}&event={record['timestamp']}~00000000",
        "logs-none": f"/logs?{RANGE}&patterns=1&where=" + urllib.parse.quote("body = 'no such'"),
    })


main()
