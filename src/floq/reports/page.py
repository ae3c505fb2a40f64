"""A page of HTML that stands alone: no script, and nothing that is fetched."""

import base64
import html
import math
from collections.abc import Iterable, Sequence

_PERCENT = "\N{NO-BREAK SPACE}%"
_LONG = 31
"""Letters of a table's cell from which on it may have several lines."""
_STYLE = """
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: #1f2328;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 48px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 12px; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 0 0 4px; letter-spacing: -0.005em; }
.lead { font-size: 19px; line-height: 1.45; margin: 0 0 6px; max-width: 46em; }
.small { color: #59636e; font-size: 14px; margin: 6px 0; max-width: 56em; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; margin-top: 24px;
  padding: 24px 28px; }
section > .note { color: #59636e; margin: 0 0 16px; max-width: 54em; font-size: 15px; }
.missing { color: #6b4e00; background: #fff8e1; border-radius: 6px; padding: 8px 12px;
  margin: 12px 0 0; font-size: 15px; }
.healthy { background: #eaf6ef; color: #14532d; border-radius: 6px; padding: 8px 12px;
  margin: 12px 0 0; font-size: 15px; max-width: 100%; }
.figures { overflow-x: auto; }
.figure { display: block; max-width: 100%; height: auto; margin: 8px auto 0; }
.video { display: block; max-width: 100%; height: auto; margin: 8px auto 0; border-radius: 6px; }
.pair { display: grid; gap: 4px 20px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair .figure { margin: 8px 0 0; width: 100%; }
.strip { display: grid; gap: 10px; grid-template-columns: repeat(4, 1fr); margin: 8px 0 0; }
.strip figure { margin: 0; }
.strip img { display: block; width: 100%; border-radius: 6px; }
.strip figcaption { color: #59636e; font-size: 13px; margin-top: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin-top: 8px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid #e9ecef;
  vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
details td { white-space: normal; overflow-wrap: anywhere; min-width: 8em; }
details td:first-child { white-space: nowrap; }
td { white-space: nowrap; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 13em; }
th { color: #59636e; font-weight: 600; }
tr.differs td { font-weight: 600; }
details { margin-top: 10px; }
summary { cursor: pointer; font-weight: 600; font-size: 15px; }
@media (max-width: 700px) {
  main { padding: 28px 12px 56px; }
  section { padding: 20px 16px; }
  h1 { font-size: 25px; }
  .lead { font-size: 17px; }
  .figures > .figure { min-width: 640px; max-width: none; }
  td:first-child { white-space: normal; }
  td.long { min-width: 11em; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  .strip { grid-template-columns: repeat(2, 1fr); }
}
@media screen and (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; }
  section { background: #161b22; border-color: #30363d; }
  .small, section > .note, .strip figcaption, th { color: #9aa4af; }
  th, td { border-color: #2a3038; }
  .missing { color: #f0d78c; background: #332a0a; }
  .healthy { color: #a5e0bb; background: #12301f; }
  /* Light turns dark and colours stay; black then lets the card through. */
  .figure { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
  .figure.map { filter: none; mix-blend-mode: normal; border-radius: 6px; }
}
@media print { body { background: #fff; } section { break-inside: avoid; border: 0; padding: 0; } }
"""

# Should a name from a file ever get through as markup, the browser still fetches and runs nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Iterable[str], *, refresh: float | None = None) -> bytes:
    """The whole document.

    Args:
        title: Its title.
        parts: What stands in it, which is HTML already.
        refresh: Seconds after which a browser asks for it again; None never does.
    """
    body = "\n".join(parts)
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh:g}">\n'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{again}<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
""".encode(errors="replace")  # A folder's name may be no text.


def heading(text: str) -> str:
    """The page's headline."""
    return f"<h1>{html.escape(text)}</h1>"


def paragraph(text: str, *, kind: str = "small") -> str:
    """A paragraph.

    Args:
        text: What it says.
        kind: "lead", "small", "note", "healthy" for what a picture should look like, or "missing"
            for what could not be shown.
    """
    return f'<p class="{kind}">{html.escape(text)}</p>'


def section(title: str, *parts: str) -> str:
    """A card with a title and its parts, which are HTML already."""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def image(svg: bytes, *, description: str, shrinks: bool = False) -> str:
    """A figure as wide as the page.

    Args:
        svg: The figure.
        description: What a reader who cannot see it is told.
        shrinks: Whether a narrow screen shows all of it, smaller, instead of a part that scrolls.
    """
    if shrinks:
        return _image(svg, description, kind="figure map")
    return f'<div class="figures">{_image(svg, description)}</div>'


def video(webp: bytes, *, description: str) -> str:
    """A video, as an animated WebP."""
    return f'<img class="video" alt="{html.escape(description)}" src="{_data("webp", webp)}">'


def pair(*panels: tuple[bytes, str]) -> str:
    """Figures of half the page's width with their descriptions: side by side if there is room."""
    return '<div class="pair">' + "".join(_image(*panel) for panel in panels) + "</div>"


def strip(pictures: Sequence[tuple[bytes, str]]) -> str:
    """Pictures, as PNG files with captions, side by side."""
    figures = (
        f'<figure><img alt="{html.escape(caption)}" src="{_data("png", picture)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for picture, caption in pictures
    )
    return '<div class="strip">' + "".join(figures) + "</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, mark: bool = False) -> str:
    """A table of text.

    Args:
        header: Names of the columns.
        rows: The cells.
        mark: Whether to set a row in bold whose cells after the first are not all the same.
    """
    lines = []
    for row in rows:
        differs = ' class="differs"' if mark and len(set(row[1:])) > 1 else ""
        cells = "".join(_cell(cell) for cell in row)
        lines.append(f"<tr{differs}>{cells}</tr>")
    names = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return (
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    # Names of runs and tasks would push the figures beside them out of sight.
    long = ' class="long"' if len(text) > _LONG else ""
    return f"<td{long}>{html.escape(text)}</td>"


def details(title: str, *parts: str) -> str:
    """Parts that open on a click."""
    return f"<details><summary>{html.escape(title)}</summary>{''.join(parts)}</details>"


def number(value: float) -> str:
    """A number in words of about three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    # Rounded first, and no −0.
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def figure(value: float, kind: str) -> str:
    """A success rate in percent, any other figure as `number` has it.

    Args:
        value: The figure; a success rate in [0, 1].
        kind: "success", or the figure's name.
    """
    return f"{100 * value:.0f}{_PERCENT}" if kind == "success" else number(value)


def span(low: float, high: float, kind: str) -> str:
    """An interval in words, such as "40 to 54 %"; empty where nothing bounds it.

    Args:
        low: Its lower end.
        high: Its upper end.
        kind: As for `figure`.
    """
    if not math.isfinite(low):
        return ""
    return f"{figure(low, kind).removesuffix(_PERCENT)} to {figure(high, kind)}"


def count(many: int, noun: str) -> str:
    """A number of things, such as "1 seed" and "2 seeds"."""
    return f"{many:,} {noun}" if many == 1 else f"{many:,} {noun}s"


def _image(svg: bytes, description: str, *, kind: str = "figure") -> str:
    return f'<img class="{kind}" alt="{html.escape(description)}" src="{_data("svg+xml", svg)}">'


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
