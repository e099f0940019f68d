"""The page in a browser, driven as a person would."""

import json
import time

import pytest

WAIT = 120_000  # ms; a busy machine without a graphics card draws maps slowly


class Page:
    """The page, its console messages, and the hosts that it contacted.

    Without a graphics card, a map takes as long as it has pixels: `scale` is how many of them there
    are to a CSS pixel, for tests that read colours. Screenshots that somebody wants have them all.
    """

    def __init__(self, browser, address, screenshots, scale=0.25, **options):
        usual = {
            "viewport": {"width": 1280, "height": 860},
            "device_scale_factor": 1 if screenshots else scale,
        }
        self.context = browser.new_context(**{**usual, **options})
        self.context.set_default_timeout(WAIT)
        self.page = self.context.new_page()
        self.address, self.screenshots = address, screenshots
        self.errors, self.asked = [], []
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))

    def open(self, fragment=""):
        self.page.goto(f"{self.address}/{fragment}")
        self.page.wait_for_selector("body[data-view]", state="attached", timeout=WAIT)
        return self

    def settle(self):
        """Wait until the search is answered and every picture is loaded."""
        self.page.wait_for_selector("#cards[aria-busy=false] .card", timeout=WAIT)
        self.until(
            "![...document.querySelectorAll('.card img')].slice(0, 3).some((i) => !i.complete)"
        )
        return self

    def until(self, script):
        """Wait until a script is true; Playwright's own wait needs eval, which is forbidden."""
        last = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(script):
            assert time.monotonic() < last, script
            self.page.wait_for_timeout(50)

    def address_has(self, text):
        """Wait until the address contains the last search."""
        self.until(f"location.hash.includes('{text}')")

    def on_map(self, across, down):
        """Return the screen position at a share of the map's width and height."""
        box = self.page.locator("#map canvas").bounding_box()
        return box["x"] + box["width"] * across, box["y"] + box["height"] * down

    def click_map(self, across, down, **options):
        self.page.mouse.click(*self.on_map(across, down), **options)

    def ask(self, script):
        """Evaluate a script with the page's own `state`, `places` and `known`.

        What it returns is sent here: a map, which maps' own methods return, takes seconds.
        """
        names = "{ state, places, known }"
        return self.page.evaluate(f"import('/static/session.js').then(({names}) => {script})")

    def look_at(self, lon, lat, **options):
        """Move the map without an animation."""
        place = json.dumps({"center": [lon, lat], **options})
        self.ask(f"{{ known.view.map.jumpTo({place}); }}")

    def centre_on(self, tile):
        """Centre the map on a tile, whatever its id is this time."""
        self.ask(
            f"""import('/static/api.js').then((api) => api.tile({tile})).then(({{ geometry }}) => {{
            const [[west, south], , [east, north]] = geometry.coordinates[0];
            known.view.map.jumpTo({{ center: [(west + east) / 2, (south + north) / 2], zoom: 12 }});
            }})"""
        )

    def tab_to(self, selector):
        """Press Tab, or Shift+Tab if it is further up, until an element has the focus."""
        up = f"document.activeElement.compareDocumentPosition(document.querySelector({selector!r}))"
        key = "Shift+Tab" if self.page.evaluate(up) & 2 else "Tab"  # DOCUMENT_POSITION_PRECEDING
        for _ in range(150):
            if self.page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
            self.page.keyboard.press(key)
        pytest.fail(f"{key} never reaches {selector}")

    def focused(self):
        return self.page.evaluate("document.activeElement.id")

    def shoot(self, name):
        """Take a screenshot, if somebody wants to look at them."""
        if self.screenshots is None:
            return
        self.page.wait_for_load_state("networkidle", timeout=WAIT)  # including the scenes' pictures
        self.page.wait_for_timeout(700)  # the map draws shortly after its data arrives
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def ids(self):
        return [int(c.get_attribute("data-tile")) for c in self.page.query_selector_all(".card")]

    def check(self):
        """Check that nothing went wrong and no other host was contacted."""
        assert self.errors == []
        local = ("blob:", "data:", self.address)
        assert [url for url in self.asked if not url.startswith(local)] == []
        self.context.close()
