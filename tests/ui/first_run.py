"""A server without events: how to send, and the first trace."""

import os
import time

from browser import expect, main, picture, post, test

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def otlp(name):
    now = time.time_ns()
    span = {"traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": name, "kind": 2, "startTimeUnixNano": str(now - 5_000_000), "endTimeUnixNano": str(now)}
    service = {"key": "service.name", "value": {"stringValue": "till"}}
    return {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [span]}]}]}


@test
def a_fresh_server_says_how_to_send_and_links_the_first_trace(tab):
    """Both themes and widths are looked at before the only span is sent: then the server is not fresh any more."""
    for theme in ("light", "dark"):
        for size in ("wide", "narrow"):
            one = tab(size=size, theme=theme)
            page = one.goto("/")
            expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
            for address in (os.environ["BROADLOOM_OTLP_GRPC"], os.environ["BROADLOOM_OTLP_HTTP"]):
                expect(page.get_by_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={address}")).to_be_visible()
            assert not one.axe(), one.axe()
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
            picture(page, f"fresh-{size}-{theme}")
    began = time.monotonic()
    post("/v1/traces", otlp("GET /first"))
    link = page.get_by_role("link", name="See the first trace")
    expect(link).to_be_visible()
    print(f"     the link came after {time.monotonic() - began:.1f} s")
    link.click()
    expect(page.get_by_role("heading", name="till GET /first")).to_be_visible()


@test
def lists_without_rows_say_so(tab):
    one = tab()
    for path, words in (("/traces?t=5m&at=2020-01-01T00:00:00Z", "No spans in this range."), ("/logs", "No log records in this range.")):
        page = one.goto(path)
        expect(page.get_by_text(words)).to_be_visible()
        one.settled()
        assert not one.axe(), one.axe()
    expect(one.goto("/attributes").get_by_text("service.name")).to_be_visible()


@test
def an_address_that_is_no_page_is_not_one(tab):
    one = tab()
    one.allowed.append("404")
    answer = one.page.goto("/nothing/here")
    assert answer.status == 404


main()
