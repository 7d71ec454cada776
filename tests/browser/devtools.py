"""A page in headless Chromium that is driven as a person would: files are dropped, keys pressed."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import chromium
import websocket

TIMED = {"--virtual-time-budget=8000"}  # such a page has a time of its own, a server has not


class Tab:
    """One page: it notes every request and every complaint.

    Attributes:
        requests: addresses that were asked for.
        complaints: what the console and uncaught exceptions said.
    """

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._numbers = itertools.count()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == number:
                assert "error" not in told, (method, told)
                return told["result"]
            self._note(told)

    def _note(self, event: dict[str, Any]) -> None:
        kind, told = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif kind == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif kind in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(told))

    def close(self) -> None:
        self._socket.close()

    def value(self, expression: str) -> Any:
        """What an expression of the page is; promises are waited for."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.value(f"Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.value("document.body.innerText"))
            time.sleep(0.05)

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(address)})")

    def look(self, width: int, dark: bool) -> None:
        """As wide as a screen, and in the colours that a person prefers."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        preferred = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[preferred])

    def drop(self, selector: str, file: Path) -> None:
        """Drop a file on the middle of an element."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """Of an element, which is scrolled to."""
        box = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView();"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return box[0], box[1]

    def press(self, key: str, code: int) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
            )

    def screenshot(self, file: Path | None = None) -> bytes:
        """All of the page as PNG."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        content = base64.b64decode(found["data"])
        if file is not None:
            file.write_bytes(content)
        return content


@contextmanager
def tab() -> Iterator[Tab]:
    """A tab of a browser of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [option for option in chromium.OPTIONS if option not in TIMED]
        command = [
            chromium.binary() or "",
            *options,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
        ]
        browser = subprocess.Popen([*command, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            with closing(Tab(_address(Path(profile)))) as opened:
                yield opened
        finally:
            browser.kill()
            browser.wait()


def _address(profile: Path) -> str:
    """Where the first tab of a browser listens."""
    import requests

    port = profile / "DevToolsActivePort"
    for _ in range(2400):  # two minutes
        if port.exists() and len(lines := port.read_text().split()) == 2:
            listed = requests.get(f"http://127.0.0.1:{lines[0]}/json/list", timeout=30).json()
            for target in listed:
                if target["type"] == "page":
                    return target["webSocketDebuggerUrl"]
        time.sleep(0.05)
    raise AssertionError("the browser did not start")
