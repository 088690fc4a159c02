"""HTML as a person reads it. Pure: text in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Page:
    """The visible text, one line a block, and where the links lead, in their order."""

    text: str
    links: tuple[str, ...]


def visible_text(html: str) -> Page:
    """What a mail program shows of a page: no tags, styles, scripts or hidden elements; entities as characters.

    Never raises: markup that cannot be parsed is shown without its tags.
    """
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:  # how html.parser says that a declaration makes no sense
        return Page(_tidy(unescape(re.sub(r"<[^>]*>", " ", html))), ())
    return Page(_tidy("".join(reader.pieces)), tuple(reader.links))


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    # Elements that have no end and so never hide what follows.
    VOID: ClassVar = frozenset(
        {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
    )
    NEVER_SHOWN: ClassVar = frozenset({"script", "style", "template", "title"})
    BLOCKS: ClassVar = frozenset(
        {"address", "article", "aside", "blockquote", "body", "br", "center", "dd", "div", "dl", "dt", "fieldset"}
        | {"footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "nav", "ol"}
        | {"p", "pre", "section", "table", "tr", "ul"}
    )
    CELLS: ClassVar = frozenset({"td", "th"})
    # `<no value>` and `<nil>` look like tags: a template's residue is kept to be complained of, though no mail
    # program shows it.
    RESIDUE: ClassVar = frozenset({"no", "nil"})
    HIDDEN_STYLE: ClassVar = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.links: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.VOID:
            self._break(tag)
            return
        values = dict(attrs)
        hides = (
            tag in self.NEVER_SHOWN
            or "hidden" in values
            or self.HIDDEN_STYLE.search(values.get("style") or "") is not None
        )
        if self._hidden or hides:
            self._hidden.append(tag)
            return
        if tag in self.RESIDUE:
            self.pieces.append(self.get_starttag_text() or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag in self._hidden:
                while self._hidden.pop() != tag:
                    pass
            return
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # A line break in the source is no line break on the page.
            self.pieces.append(re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if self._hidden:
            return
        if tag in self.BLOCKS:
            self.pieces.append("\n")
        elif tag in self.CELLS:
            self.pieces.append(" ")
