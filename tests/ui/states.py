"""States that every page can be in: a problem, nothing, a server out of reach, and what opens above a page."""

import urllib.parse

from browser import accessible, expect, main, test

RANGE = "t=2026-01-05T09:00:00Z..2026-01-05T09:30:00Z"
WRONG = "where=" + urllib.parse.quote("http.rout = 'x'")
NOTHING = "where=" + urllib.parse.quote("http.route = 'no such'")


def said(words):
    return lambda one: expect(one.page.locator("main").get_by_text(words).first).to_be_visible()


@test
def problems_stand_in_their_place_in_every_theme_and_width(tab):
    def tolerant(one):
        one.allowed.extend(["400", "404"])

    nearest = said("http.route")

    def stopped(one):
        nearest(one)
        expect(one.page.locator(".live-state")).to_have_text("stopped")

    accessible(tab, {
        "problem-traces": (f"/traces?{RANGE}&{WRONG}", nearest), "problem-logs": (f"/logs?{RANGE}&{WRONG}", nearest), "problem-patterns": (f"/logs?{RANGE}&patterns=1&{WRONG}", nearest),
        "problem-live": (f"/logs?live=1&{WRONG}", stopped), "problem-explore": (f"/explore?{RANGE}&{WRONG}", nearest), "problem-trace": (f"/trace/{1:032x}", said("There are no spans")),
        "problem-range": ("/logs?t=soon", said("cannot be read")),
    }, tolerant)


@test
def what_is_empty_says_why_in_every_theme_and_width(tab):
    accessible(tab, {
        "empty-traces": (f"/traces?{RANGE}&{NOTHING}", said("meet the condition")), "empty-explore": (f"/explore?{RANGE}&{NOTHING}", said("meet the condition")),
        "empty-live": ("/traces?live=1", said("Nothing came in the last")), "empty-overview": ("/?t=5m&at=2020-01-01T00:00:00Z", said("No calls in this range.")),
        "empty-sql": ("/sql#q=" + urllib.parse.quote("select name from spans where false"), said("The statement gives no rows.")),
    })


@test
def what_opens_above_a_page_is_accessible_in_every_theme_and_width(tab):
    def keys(one):
        one.page.locator("main").focus()
        one.page.keyboard.press("?")
        expect(one.page.get_by_role("dialog", name="Keys")).to_be_visible()

    def times(one):
        one.page.locator(".range-button").click()
        expect(one.page.get_by_role("dialog", name="Time range")).to_be_visible()

    def offers(one):
        one.page.get_by_role("combobox", name="Add a condition").fill("os")
        expect(one.page.get_by_role("option").first).to_be_visible()

    def gone(one):
        one.allowed.append("ERR_INTERNET_DISCONNECTED")
        one.context.set_offline(True)
        one.page.keyboard.press("r")
        expect(one.page.locator("#gone")).to_contain_text("cannot be reached")
        expect(one.page.locator("[aria-busy]")).to_have_count(0)

    page = f"/logs?{RANGE}"
    accessible(tab, {"above-keys": (page, keys), "above-times": (page, times), "above-offers": (page, offers), "above-gone": (page, gone)})


main()
