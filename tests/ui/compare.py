"""Two traces of one operation: which one is typical, what is slower, missing and new."""

import re
import uuid

from browser import accessible, expect, main, post, rows, test

INDEX = "payment_methods_wallet_token_idx"
START = 1_767_610_800_000_000_000  # 2026-01-05T11:00:00Z
MS = 1_000_000


def slow_trace():
    return rows(f"select trace_id from logs where body like '%{INDEX}%' order by timestamp limit 1")[0]["trace_id"]


def median_trace(trace):
    """The trace of median duration, calculated here."""
    found = rows(f"select trace_id, duration_ns from spans where name = 'POST /checkout' and service.name = 'gateway' and parent_span_id is null and coalesce(status, '') <> 'error' and trace_id <> '{trace}' order by duration_ns, trace_id")
    return found[(len(found) + 1) // 2 - 1]["trace_id"]


def send(trace, spans):
    """Spans as (id, parent, start in ms, duration in ms, service, name), and one of them failed."""
    for service in {span[4] for span in spans}:
        own = [{
            "traceId": trace, "spanId": f"{number:016x}", "parentSpanId": f"{parent:016x}" if parent else "", "name": name, "kind": 1,
            "startTimeUnixNano": str(START + start * MS), "endTimeUnixNano": str(START + (start + length) * MS), "status": {"code": 2 if "failing" in name else 1},
            "attributes": [{"key": "step.number", "value": {"intValue": str(number)}}, {"key": "tier", "value": {"stringValue": "gold"}}],
        } for number, parent, start, length, of, name in spans if of == service]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        post("/v1/traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": own}]}]})


def grid(page):
    return page.get_by_role("grid", name="Spans of both traces")


def line(page, words):
    return grid(page).locator(".list-row:visible").filter(has_text=words)


@test
def a_slow_trace_is_compared_with_a_typical_one(tab):
    trace = slow_trace()
    one = tab()
    page = one.goto(f"/trace/{trace}")
    waterfall = page.get_by_role("treegrid", name="Spans")
    expect(waterfall.locator(".wf-row:visible").first).to_be_visible()
    waterfall.focus()
    page.keyboard.press("d")
    dialog = page.get_by_role("dialog", name="Compare with")
    expect(dialog.get_by_role("button", name=re.compile("^Typical"))).to_contain_text(median_trace(trace))
    for words in ("Fastest", "Slowest", "The last one before it"):
        expect(dialog.get_by_role("button", name=re.compile(f"^{words}"))).to_be_visible()
    assert not one.axe(), one.axe()
    dialog.get_by_role("button", name=re.compile("^Typical")).click()
    expect(page).to_have_url(re.compile(f"/trace/{trace}/vs/{median_trace(trace)}"))
    expect(page.locator(".headline")).to_contain_text("slower (×")
    expect(page.locator(".headline")).to_contain_text("in payment SELECT payment_methods")
    expect(line(page, "SELECT payment_methods").locator(".delta")).to_have_text(re.compile(r"^\+[4-9].* s$"))
    line(page, "SELECT payment_methods").click()
    detail = page.get_by_role("complementary", name="Both spans")
    expect(detail).to_contain_text("of the whole difference is here itself")
    expect(detail.get_by_text("attributes differ")).to_be_visible()
    expect(page).to_have_url(re.compile("span=[0-9a-f]{16}"))
    page.reload()
    expect(detail.get_by_role("heading", name="SELECT payment_methods")).to_be_visible()
    detail.get_by_role("link", name="Open in this trace").click()
    expect(page.get_by_role("treegrid", name="Spans").locator(".wf-row.active .op")).to_have_text("SELECT payment_methods")
    page.go_back()
    page.get_by_role("link", name="Swap").click()
    expect(page.locator(".headline")).to_contain_text("faster (×")


@test
def spans_belong_together_by_their_place_in_the_tree(tab):
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    send(first, [(1, 0, 0, 400, "shop", "order"), (2, 1, 10, 100, "stock", "reserve"), (3, 1, 120, 100, "stock", "reserve"), (4, 1, 230, 100, "stock", "reserve"), (5, 1, 340, 20, "shop", "only here"), (6, 2, 20, 5, "shop", "failing")])
    send(second, [(11, 0, 0, 100, "shop", "order"), (12, 11, 10, 30, "stock", "reserve"), (13, 11, 50, 20, "mail", "only there"), (14, 12, 20, 5, "shop", "failing")])
    one = tab()
    page = one.goto(f"/trace/{first}/vs/{second}")
    expect(page.locator(".headline")).to_contain_text("300 ms slower (×4.0)")
    expect(page.locator(".headline")).to_contain_text("270 ms in stock reserve")
    # Three calls of one place are one line; what one trace alone has is named.
    expect(line(page, "reserve").locator("span.own")).to_have_text("300 ms in 3")
    expect(line(page, "reserve").locator("span.other")).to_have_text("30 ms")
    expect(line(page, "reserve").locator(".delta")).to_contain_text("+270 ms")
    expect(line(page, "only here").locator(".delta")).to_have_text("new here")
    expect(line(page, "only there").locator(".delta")).to_have_text("missing here")
    expect(line(page, "failing")).to_have_count(0)
    page.get_by_role("button", name="All", exact=True).click()
    expect(line(page, "failing")).to_have_count(1)
    names = [row.locator(".diff-name").inner_text() for row in grid(page).locator(".list-row:visible").all()]
    assert names == ["shop order", "stock reserve", "shop failing", "mail only there", "shop only here"], names
    line(page, "reserve").click()
    detail = page.get_by_role("complementary", name="Both spans")
    expect(detail.get_by_text("step.number")).to_be_visible()
    detail.get_by_text("attributes are alike").click()
    expect(detail.get_by_text("gold")).to_be_visible()
    line(page, "only there").click()
    expect(detail.get_by_role("link", name="Open in the other")).to_be_visible()
    expect(detail.get_by_role("link", name="Open in this trace")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    # The same trace twice differs in nothing.
    page = one.goto(f"/trace/{first}/vs/{first}")
    expect(page.locator(".headline")).to_contain_text("Both take the same time.")
    expect(page.get_by_text("No span differs")).to_be_visible()


@test
def what_cannot_be_compared_says_why(tab):
    trace = slow_trace()
    one = tab()
    one.allowed.append("404")
    page = one.goto(f"/trace/{trace}/vs/{1:032x}")
    expect(page.get_by_text("One of these traces is not here")).to_be_visible()
    page = one.goto(f"/trace/{trace}")
    page.get_by_role("button", name="Compare with").click()
    dialog = page.get_by_role("dialog", name="Compare with")
    for typed, said in (("nonsense", "Write the id of a trace"), (trace, "That is this trace.")):
        dialog.get_by_role("textbox", name="Other trace").fill(typed)
        dialog.get_by_role("button", name="Compare", exact=True).click()
        expect(dialog.get_by_text(said)).to_be_visible()
    other = rows("select trace_id from spans where name = 'GET /search' and parent_span_id is null order by timestamp limit 1")[0]["trace_id"]
    dialog.get_by_role("textbox", name="Other trace").fill(f"https://elsewhere.example/trace/{other}?x=1")
    dialog.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("The other trace is of another operation")).to_be_visible()


@test
def two_traces_are_accessible_and_fit(tab):
    trace = slow_trace()
    both = f"/trace/{trace}/vs/{median_trace(trace)}"

    def one_span(one):
        line(one.page, "SELECT payment_methods").click()
        expect(one.page.get_by_text("attributes are alike")).to_be_visible()

    def listed(one):
        expect(grid(one.page).locator(".list-row").first).to_be_visible()

    accessible(tab, {"two-traces": (both + "?only=all", listed), "two-traces-span": (both, one_span)})


main()
