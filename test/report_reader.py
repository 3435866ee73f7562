"""What a reader of report.html does in a browser, and what the page did meanwhile."""

ITEMS = "document.querySelectorAll('#utterances > li').length"


def choose(page, name, value):
    """Choose an entry of the menu `name`."""
    page.evaluate(
        f"(() => {{ const it = document.getElementById({name!r}); it.value = {value!r}; "
        "it.dispatchEvent(new Event('change')); })()"
    )


def search(page, words):
    """Type words into the search field, and wait until the list has followed."""
    page.evaluate(
        f"(() => {{ const it = document.getElementById('search'); it.value = {words!r}; "
        "it.dispatchEvent(new Event('input')); })()"
    )
    wait(page)


def wait(page):
    """A moment in which the page settles."""
    page.evaluate("new Promise(done => setTimeout(done, 300))")


def outside(page):
    """Addresses that the page asked for elsewhere."""
    return [address for address in page.requests if not address.startswith(("file://", "data:"))]
