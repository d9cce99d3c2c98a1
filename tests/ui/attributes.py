"""Values of an attribute, distributions of numbers, keys that act on a value, and the server's own page."""

import json
import re
import threading
import urllib.error
import urllib.parse

from browser import accessible, expect, main, rows, test

RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
WITHIN = "timestamp >= '2026-01-05T09:00:00Z' and timestamp < '2026-01-05T09:30:00Z'"


def statement(page, panel):
    return urllib.parse.unquote(page.locator(panel).locator(".panel-head a", has_text="SQL").get_attribute("href").split("#q=")[1])


def table(page):
    return page.get_by_role("region", name="Values")


@test
def values_of_a_key_have_their_counts_and_lead_to_explore(tab):
    one = tab()
    page = one.goto(f"/attributes?{RANGE}")
    page.get_by_role("searchbox", name="Filter keys").fill("cloud.reg")
    page.get_by_role("grid", name="Attributes").locator(".list-row:visible", has_text="cloud.region").click()
    one.settled()
    expected = rows(f"select cloud.region as value, count(*) as events, min(timestamp) as first, max(timestamp) as last from events where {WITHIN} and cloud.region is not null group by 1 order by 2 desc, 1")
    lines = table(page).locator("tbody tr")
    expect(lines).to_have_count(len(expected))
    total = sum(row["events"] for row in expected)
    for i, row in enumerate(expected):
        words = lines.nth(i).inner_text()
        assert row["value"] in words and f"{row['events']:,}" in words, (row, words)
        assert row["last"][14:19] in words, (row, words)
    every = rows(f"select count(*) as n from events where {WITHIN}")[0]["n"]
    expect(page.get_by_text(f"in {total:,} of {every:,} events")).to_be_visible()
    # The same again from the address, of spans alone, and of some values.
    page.reload()
    expect(lines).to_have_count(len(expected))
    page.get_by_role("button", name="Spans", exact=True).click()
    one.settled()
    spans = rows(f"select count(*) as n from spans where {WITHIN} and cloud.region = 'eu-west'")[0]["n"]
    expect(lines.filter(has_text="eu-west")).to_contain_text(f"{spans:,}")
    page.get_by_role("searchbox", name="Find a value").fill("EU-")
    expect(lines).to_have_count(sum("eu-" in row["value"] for row in expected))
    assert "find=EU-" in page.url
    lines.filter(has_text="eu-west").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/explore.*resource.cloud.region"))
    one.settled()
    expect(page.locator(".groups-panel h2")).to_have_text(f"{spans:,} spans")


@test
def numbers_show_how_they_are_distributed(tab):
    one = tab()
    for key, log in (("cart.items", False), ("http.response.body.size", True)):
        page = one.goto(f"/attributes?{RANGE}&key={key}")
        one.settled()
        picture = page.locator(".distribution")
        expect(picture).to_be_visible()
        sql = urllib.parse.unquote(page.locator(".value-numbers a").get_attribute("href").split("#q=")[1])
        bins = rows(sql)
        found = rows(f"select min({key}) as low, max({key}) as high, count({key}) as n from events where {WITHIN}")[0]
        assert sum(row["events"] for row in bins) == found["n"], (bins, found)
        assert (bins[0]["low"], bins[0]["high"]) == (found["low"], found["high"])
        assert ("logarithmic" in page.locator(".value-numbers").inner_text()) == log
        expect(picture.locator("svg")).to_have_attribute("aria-label", re.compile("^Distribution from"))
    # Whole numbers have a bar each.
    page = one.goto(f"/attributes?{RANGE}&key=cart.items")
    one.settled()
    ends = rows(f"select min(cart.items) as low, max(cart.items) as high from events where {WITHIN}")[0]
    expect(page.locator(".distribution g")).to_have_count(ends["high"] - ends["low"] + 1)


@test
def a_number_that_differs_shows_both_distributions(tab):
    one = tab()
    selection = urllib.parse.quote("where http.route = '/checkout'")
    page = one.goto(f"/explore?{RANGE}&sel={selection}")
    one.settled()
    entry = page.locator(".differences > li", has_text="http.response.body.size").first
    entry.scroll_into_view_if_needed()
    expect(entry.locator(".distribution")).to_be_visible()
    bins = rows(urllib.parse.unquote(entry.locator(".both-distributions a").get_attribute("href").split("#q=")[1]))
    counts = rows(f"select count(*) filter (where http.route = '/checkout') as own, count(*) filter (where http.route is distinct from '/checkout') as others from spans where {WITHIN} and http.response.body.size is not null")[0]
    assert sum(row["events"] for row in bins if row["is_selected"]) == counts["own"], counts
    assert sum(row["events"] for row in bins if not row["is_selected"]) == counts["others"], counts


@test
def keys_act_on_the_value_that_is_looked_at(tab):
    one = tab()
    page = one.goto(f"/logs?{RANGE}")
    one.settled()
    grid = page.get_by_role("grid", name="Log records")
    grid.focus()
    page.keyboard.press("j")
    service = grid.locator(".list-row.active .service").inner_text()
    page.keyboard.press(".")
    menu = page.get_by_role("menu", name="service.name")
    expect(menu.get_by_role("menuitem", name="Only this value")).to_be_focused()
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator(".chip-text")).to_have_text(f"service.name <> '{service}'")
    one.settled()
    # The pointer does where nothing has the focus.
    page.get_by_role("heading", name="Log records over time").click()
    page.locator(".facet").first.locator("li").first.hover()
    severity = page.locator(".facet").first.locator(".facet-name").first.inner_text()
    page.keyboard.press("x")
    expect(page.locator(".chip-text").last).to_have_text(f"severity <> '{severity}'")
    # Typing is typing.
    field = page.get_by_role("combobox", name="Add a condition")
    field.focus()
    page.keyboard.type("x.")
    expect(field).to_have_value("x.")
    expect(page.locator(".chip-text")).to_have_count(2)


@test
def what_is_different_is_a_sheet_on_phones(tab):
    one = tab(size="narrow", has_touch=True)
    selection = "sel=2026-01-05T09:18:00Z..2026-01-05T09:30:00Z;1000000000..10000000000;duration_ns"
    page = one.goto(f"/explore?{RANGE}&where=http.route%3D'/checkout'&{selection}")
    one.settled()
    sheet = page.locator(".different")
    box = sheet.bounding_box()
    assert box["x"] == 0 and box["width"] == 390 and abs(box["y"] + box["height"] - 844) < 1 and box["height"] < 450, box
    expect(page.locator(".heat-map canvas")).to_be_in_viewport()
    page.get_by_role("button", name="Larger").tap()
    expect(page.get_by_role("button", name="Smaller")).to_have_attribute("aria-expanded", "true")
    for _ in range(600):
        if sheet.bounding_box()["height"] > 700:
            break
        page.evaluate("() => new Promise(requestAnimationFrame)")
    assert sheet.bounding_box()["height"] > 700, sheet.bounding_box()
    sheet.get_by_role("button", name="Close").tap()
    expect(sheet).to_be_hidden()


@test
def the_page_of_the_server_says_what_its_routes_say(tab):
    one = tab()
    page = one.goto("/status")
    expect(page.locator(".headline")).to_contain_text("Ready.")
    status = page.request.get("/v1/status").json()
    expect(page.locator(".headline")).to_contain_text(f"Broadloom {status['version']}")
    tile = lambda name: page.locator(".tile", has=page.get_by_text(name, exact=True)).locator("dd")
    expect(tile("Events")).to_have_text(f"{status['events']:,}")
    expect(tile("Segments")).to_contain_text(str(status["segments"]))
    expect(tile("Attribute keys")).to_have_text(f"{status['attribute_keys']:,}")
    for address in filter(None, status["addresses"].values()):
        expect(page.get_by_text(address)).to_be_visible()
    duties = set(re.findall(r'broadloom_maintenance_failures_total\{duty="(\w+)"\}', page.request.get("/metrics").text()))
    assert duties
    for duty in duties:
        expect(page.get_by_role("region", name="Maintenance").get_by_role("row", name=re.compile("^" + duty.replace("_", " ")))).to_contain_text("works")
    # Another look comes by itself, and rates with it.
    expect(tile("Come in")).to_have_text(re.compile(r"\d+/s"))
    stored = page.get_by_role("region", name="What is stored")
    for row in rows("select signal, count(*) as n from events group by 1"):
        expect(stored.get_by_role("row", name=re.compile(row["signal"].replace("_", " ") + r" [\d,]+ "))).to_contain_text(f"{row['n']:,}")
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page).to_have_url(re.compile("/attributes"))
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page).to_have_url(re.compile("/status"))


@test
def a_query_that_runs_is_shown_and_ended_by_a_button(tab):
    slow = "select max(value) from generate_series(1, 1000000000000)"
    ended = []

    def ask():
        try:
            rows(slow)
        except urllib.error.HTTPError as error:
            ended.append(json.loads(error.read()))

    asking = threading.Thread(target=ask)
    asking.start()
    page = tab().goto("/status")
    line = page.get_by_role("region", name="Running now").get_by_role("row").filter(has_text="generate_series")
    expect(line).to_contain_text("http, sql")
    line.get_by_role("button", name="Cancel").click()
    asking.join()
    assert ended[0]["type"].endswith("cancelled"), ended
    expect(line).to_have_count(0)


@test
def a_server_that_is_not_well_says_so_on_its_page(tab):
    one = tab()
    one.allowed.append("503")
    words = "merging failed 3 times in a row: no space left"
    one.context.route("**/readyz", lambda route: route.fulfill(body=f"ok\nfailing: {words}\n", content_type="text/plain"))
    page = one.goto("/status")
    expect(page.locator(".headline")).to_contain_text("1 maintenance duty fails")
    expect(page.get_by_role("region", name="Maintenance").get_by_role("row", name=re.compile("^merging"))).to_contain_text("failed 3 times in a row: no space left")
    assert not one.axe(), one.axe()
    one.context.unroute("**/readyz")
    problem = {"title": "Not now", "status": 503, "detail": "the server is stopping"}
    one.context.route("**/readyz", lambda route: route.fulfill(status=503, json=problem))
    expect(page.locator(".headline")).to_contain_text("Not ready: the server is stopping")


@test
def values_and_the_server_are_accessible_and_fit(tab):
    def two_looks(one):
        expect(one.page.locator(".tile").first).to_be_visible()

    def values(one):
        expect(table(one.page).locator("tbody tr").first).to_be_visible()

    def numbers(one):
        values(one)
        expect(one.page.locator(".distribution")).to_be_visible()

    def menu(one):
        values(one)
        table(one.page).get_by_role("button", name="Actions for").first.click()
        expect(one.page.get_by_role("menu")).to_be_visible()

    accessible(tab, {
        "values": (f"/attributes?{RANGE}&key=cart.items", numbers), "values-menu": (f"/attributes?{RANGE}&key=cloud.region&level=resource", menu),
        "values-none": "/attributes?t=5m&at=2020-01-01T00:00:00Z&key=cart.items", "status": ("/status", two_looks),
    })


main()
