"""Open HTML pages in headless Chromium as a reader would: on a desktop and a phone, each light and dark.

    python scripts/look.py runs docs --out screenshots

A page passes if it logs no error, also when everything that can be pressed is pressed, asks for nothing outside itself,
is not wider than the screen, and has no text over the edge of its card. It is photographed on every screen, for a
person to look at; Chinese needs a font (Debian: fonts-noto-cjk). Exits with 1 if a page fails, with 6 if there is no
browser.

The browser is spoken to over its debugging pipe (JSON messages that end in a zero byte), which needs no package.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCREENS = {f"{name}-{scheme}": (*size, scheme) for name, size in SIZES.items() for scheme in ("light", "dark")}
INSIDE = ("file:", "data:", "blob:", "about:")
SETTLED = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))"
PRESS = "document.querySelectorAll('button, summary').forEach(thing => thing.click())"
OVER_THE_EDGE = """(() => {
  const scrolls = part => part && (/auto|scroll/.test(getComputedStyle(part).overflowX) || scrolls(part.parentElement));
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Set();
  while (texts.nextNode()) {
    const text = texts.currentNode, range = document.createRange(), holder = text.parentElement;
    if (!text.data.trim() || holder.closest("script, style, title") || scrolls(holder)) continue;
    const edge = (holder.closest(".card, .tile") ?? document.documentElement).getBoundingClientRect();
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()].filter(box => box.width);
    if (boxes.some(box => box.right > edge.right + 1 || box.left < edge.left - 1)) found.add(text.data.trim());
  }
  return [...found];
})()"""
TALLEST = 12_000  # pixels of a screenshot


@dataclass
class Browser:
    """A conversation with Chromium: commands out, answers and events in."""

    to: BinaryIO
    back: BinaryIO
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _last: int = 0

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; what happens meanwhile is kept in `events`."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        while (answer := self._read()).get("id") != self._last:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def wait_for(self, event: str) -> None:
        """Wait until an event of this name has come."""
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        letters = bytearray()
        while (letter := self.back.read(1)) != b"\0":
            if not letter:
                raise RuntimeError("the browser has gone away")
            letters += letter
        return dict(json.loads(letters))


@contextmanager
def open_browser(program: str) -> Iterator[Browser]:
    """Start Chromium with an empty profile, attached to one blank page; it is stopped in the end."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="look-", ignore_cleanup_errors=True) as profile:
        # Chromium reads from descriptor 3 and writes to 4; the shell puts the pipes there.
        script = f'exec "$@" 3<&{to_read} 4>&{back_write}'
        command = ["bash", "-c", script, "look", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, pass_fds=(to_read, back_write), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(back_write)
        try:
            with os.fdopen(to_write, "wb") as to, os.fdopen(back_read, "rb") as back:
                browser = Browser(to, back)
                pages = browser.ask("Target.getTargets")["targetInfos"]
                page = next(info["targetId"] for info in pages if info["type"] == "page")
                browser.session = browser.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
                for domain in ("Page", "Runtime", "Log", "Network"):
                    browser.ask(f"{domain}.enable")
                yield browser
        finally:
            process.terminate()
            process.wait(timeout=30)


def look(browser: Browser, page: Path, screen: str, picture: Path) -> list[str]:
    """Open a page on a screen, photograph it, and say what is wrong with it."""
    width, height, scheme = SCREENS[screen]
    size = {"width": width, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Page.navigate", url="about:blank")
    browser.ask("Emulation.setDeviceMetricsOverride", height=height, **size)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.events.clear()
    browser.ask("Page.navigate", url=page.resolve().as_uri())
    browser.wait_for("Page.loadEventFired")
    browser.ask("Runtime.evaluate", expression=SETTLED, awaitPromise=True)
    measured = browser.ask(
        "Runtime.evaluate",
        expression="[document.documentElement.scrollWidth, document.documentElement.scrollHeight]",
        returnByValue=True,
    )["result"]["value"]
    browser.ask("Emulation.setDeviceMetricsOverride", height=min(max(height, measured[1]), TALLEST), **size)
    photograph = browser.ask("Page.captureScreenshot", format="png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(base64.b64decode(photograph["data"]))
    browser.ask("Runtime.evaluate", expression=f"{PRESS}; {SETTLED}", awaitPromise=True)
    faults = [fault for event in browser.events if (fault := fault_of(event))]
    over = browser.ask("Runtime.evaluate", expression=OVER_THE_EDGE, returnByValue=True)["result"]["value"]
    faults += [f"has text over an edge: {text!r}" for text in over]
    if measured[0] > width:
        faults.append(f"is {measured[0]} pixels wide on a screen of {width}")
    return faults


def fault_of(event: dict[str, Any]) -> str:
    """What an event says is wrong with the page; "" if nothing."""
    told = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            return f"threw {details.get('exception', {}).get('description', details['text'])}"
        case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
            return "logged an error: " + " ".join(str(part.get("value", "")) for part in told["args"])
        case "Log.entryAdded" if told["entry"]["level"] == "error":
            return f"logged an error: {told['entry']['text']} {told['entry'].get('url', '')}".rstrip()
        case "Network.requestWillBeSent" if not told["request"]["url"].startswith(INSIDE):
            return f"asked for {told['request']['url']}"
    return ""


def find_browser() -> str:
    """The browser's program; installed first where there is none and Debian's packages can be."""
    for attempt in ("look", "install"):
        for name in BROWSERS:
            if found := shutil.which(name):
                return found
        if attempt == "look" and shutil.which("apt-get") and os.geteuid() == 0:
            for step in (["update", "-qq"], ["install", "-y", "-qq", "chromium", "fonts-noto-cjk"]):
                subprocess.run(["apt-get", *step], stdout=subprocess.DEVNULL, check=False)
    print("look: no Chromium found. Install it (Debian: apt-get install chromium) and run this again.", file=sys.stderr)
    sys.exit(6)


def main() -> int:
    """Look at every page below the folders named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("places", nargs="+", type=Path, help="pages, or folders of them")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="where the pictures go")
    asked = parser.parse_args()
    pages = [page for place in asked.places for page in ([place] if place.is_file() else sorted(place.rglob("*.html")))]
    if not pages:
        print(f"look: no HTML page below {', '.join(map(str, asked.places))}. Make one: make quickstart")
        return 0
    failed = 0
    with open_browser(find_browser()) as browser:
        for page in pages:
            for screen in SCREENS:
                name = "-".join(part for part in page.with_suffix("").parts if part not in ("/", ".."))
                picture = asked.out / f"{name}-{screen}.png"
                faults = look(browser, page, screen, picture)
                failed += bool(faults)
                print(f"{'FAIL' if faults else 'ok  '} {page} on a {screen}: {picture}")
                for fault in faults:
                    print(f"     {fault}")
    print(f"{len(pages)} pages on {len(SCREENS)} screens each, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
