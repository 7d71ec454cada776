"""Look through a built site: every link inside it leads somewhere, and nothing is fetched from outside."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Anchors of a page, its links, and what a browser fetches to show it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if value and (name in ("href", "src")):
                self.links.append(value)
                if (tag, name) in FETCHED:
                    self.fetched.append(value)


def faults(site: Path) -> list[str]:
    """A line for every link that leads nowhere and everything that is fetched from outside."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    found = [] if pages else [f"{site}: no pages"]
    for file, page in pages.items():
        found += [
            f"{file.name} fetches {u}" for u in page.fetched if urlsplit(u).scheme or u.startswith("//")
        ]
        found += [f"{file.name}: {u} leads nowhere" for u in page.links if not _leads(file, u, pages)]
    for style in site.rglob("*.css"):
        text = style.read_text()
        found += [
            f"{style.name} fetches {what}" for what in ("url(http", "url(//", "@import") if what in text
        ]
    return found


def _leads(file: Path, url: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or url.startswith("//") or url == "#":
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not parts.fragment or target not in pages:
        return target.exists()
    return unquote(parts.fragment) in pages[target].anchors


if __name__ == "__main__":
    if lines := faults(Path(sys.argv[1])):
        sys.exit("\n".join(lines))
