"""Reads a page that the tests look at."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tables of a page (lists of rows of text) by the heading above them, its text, and open tags."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.text, self.open, self.heading = {}, "", [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("h2", "summary"):
            self.heading = data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[self.heading][-1].append(data)
