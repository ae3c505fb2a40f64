"""What a browser would find in the pages that floq writes, and what they are about."""

import base64
import html.parser
import re


class Page(html.parser.HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.titles = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags[-1:] == ["h2"] and data.strip():
            self.titles.append(data)
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)

    @property
    def images(self):
        return [value for name, value in self.attributes if name == "src"]


def read(path):
    return Page(path.read_text())


def assert_stands_alone(path):
    """Every picture is in the page, there are no scripts or links, also inside the pictures."""
    page = read(path)
    assert not {"script", "link", "iframe", "a", "object"} & set(page.tags)
    assert all(source.startswith("data:image/") for source in page.images)
    assert "url(" not in path.read_text()
    for source in page.images:
        kind, content = source.split(";base64,")
        if kind == "data:image/svg+xml":
            drawing = base64.b64decode(content).decode()
            links = re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", drawing)
            assert all("".join(link).startswith(("#", "data:")) for link in links)
            assert "<script" not in drawing
