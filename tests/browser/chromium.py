"""Pages in headless Chromium: what they become after their scripts have run, and how they look."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
    "--virtual-time-budget=8000",
]
# one click a second of the page's time, on what a selector finds or what shows these words
CLICKS = """
<script>
{clicks}.forEach((what, n) => setTimeout(() => {{
  const links = [...document.querySelectorAll("a, button")];
  const found = document.querySelector(what) || links.find(link => link.innerText.trim() === what);
  if (found) found.click(); else document.title = "nothing to click: " + what;
}}, 1000 * (n + 1)));
</script>
</body>"""


def binary() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def document(page: Path, *clicks: str) -> str:
    """The document that a page's scripts made, without them, after clicks on links or selectors."""
    text = re.sub("<(script|style).*?</\\1>", "", _browse(_clicking(page, clicks), "--dump-dom"), flags=re.S)
    assert "nothing to click" not in text, re.search("nothing to click[^<]*", text)
    return text


def screenshot(page: Path, picture: Path, *clicks: str) -> Path:
    _browse(_clicking(page, clicks), f"--screenshot={picture}")
    return picture


def _clicking(page: Path, clicks: tuple[str, ...]) -> Path:
    """A copy of a page that clicks by itself."""
    clicking = page.with_name(f"clicking-{page.name}")
    head, _, tail = page.read_text(encoding="utf8").rpartition("</body>")
    clicking.write_text(head + CLICKS.format(clicks=json.dumps(clicks)) + tail, encoding="utf8")
    return clicking


def _browse(page: Path, *options: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [binary() or "", *OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
