"""Pictures of README.md, of the demo's incident: BROADLOOM_UI_PICTURES=docs writes explore.png and page.png anew."""

import re
import urllib.parse

from browser import expect, main, picture, rows, test

RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
CHECKOUT = urllib.parse.quote("http.route = '/checkout'")
INDEX = "payment_methods_wallet_token_idx"


@test
def explore_shows_what_is_different_about_slow_checkouts(tab):
    one = tab()
    selection = "2026-01-05T09:18:00Z..2026-01-05T09:30:00Z;1000000000..10000000000;duration_ns"
    page = one.goto(f"/explore?{RANGE}&by=os.version&where={CHECKOUT}&sel={urllib.parse.quote(selection)}")
    one.settled()
    # A server that has read these columns before, as one that is in use has.
    page.reload()
    one.settled()
    first = page.locator(".differences > li").first
    expect(first).to_contain_text("17.*")
    expect(page.locator(".different")).to_contain_text("eu-west")
    picture(page, "explore")


@test
def a_slow_trace_leads_to_the_missing_index(tab):
    found = rows(f"select trace_id, span_id from logs where body like '%{INDEX}%' order by timestamp, trace_id limit 1")[0]
    one = tab()
    page = one.goto(f"/trace/{found['trace_id']}?span={found['span_id']}")
    expect(page.get_by_role("treegrid", name="Spans").locator(".wf-row.active .op")).to_have_text("SELECT payment_methods")
    expect(page.get_by_role("complementary", name="Span").get_by_text(re.compile(INDEX)).first).to_be_visible()
    picture(page, "page")


main()
