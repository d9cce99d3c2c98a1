"""A server that needs keys: the page asks for one, goes on where it was, and signs out."""

import os

from browser import expect, main, picture, test

KEY = os.environ["BROADLOOM_TEST_KEY"]


@test
def a_page_asks_for_a_key_and_goes_on_where_it_was(tab):
    for theme in ("light", "dark"):
        for size in ("wide", "narrow"):
            one = tab(size=size, theme=theme)
            one.allowed += ["401"]
            page = one.goto("/sql?q=select%2042%20as%20answer")
            dialog = page.get_by_role("dialog", name="Sign in")
            expect(dialog).to_be_visible()
            assert not one.axe(), one.axe()
            picture(page, f"sign-in-{size}-{theme}")
            dialog.get_by_label("Key").fill("bl_nonsense")
            page.keyboard.press("Enter")
            expect(dialog.get_by_role("alert")).to_contain_text("not known")
            page.keyboard.press("Escape")
            expect(dialog).to_be_visible()
            dialog.get_by_label("Key").fill(KEY)
            dialog.get_by_role("button", name="Sign in").click()
            expect(dialog).to_have_count(0)
            expect(page.get_by_role("button", name="Sign out anna")).to_be_visible()
            # The key is not in the page, and no script can read the cookie.
            assert page.evaluate("() => document.cookie") == ""
            assert not page.evaluate("(key) => document.documentElement.outerHTML.includes(key)", KEY)
            page.reload()
            expect(page.get_by_role("button", name="Sign out anna")).to_be_visible()
            expect(page.get_by_role("dialog")).to_have_count(0)
            page.get_by_role("button", name="Sign out anna").click()
            expect(dialog).to_be_visible()


main()
