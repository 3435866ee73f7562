"""Charts as inline SVG whose colours follow the page's theme. No program draws them: they print and scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
MARKERS = 8  # shapes, one a colour, so that lines differ without colour too
COLOURS = 8


@dataclass(frozen=True)
class Line:
    """One line of a chart; `colour` is a number of the palette, which also decides the marker."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    thin: bool = False
    dashed: bool = False
    markers: bool = True


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str = "",
    log_x: bool = False,
    x_ticks: Sequence[float] | None = None,
    zero: bool = False,
    levels: Sequence[tuple[str, float, int]] = (),
) -> str:
    """A `<figure>` with a line chart. Points that are no finite number leave a gap.

    Args:
        x_ticks: where the x axis has numbers; None: round ones.
        zero: the y axis begins at 0.
        levels: (name, y, colour) of dashed lines over the whole width.
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    ys = [y for _, y in points] + [y for _, y, _ in levels]
    if not points and not levels:
        return _empty(title)
    xs = [x for x, _ in points] or [0.0, 1.0]
    low_x, high_x = _span(xs, log_x)
    low_y, high_y = _padded(min(ys), max(ys), zero)

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log(x) - math.log(low_x)) / (math.log(high_x) - math.log(low_x)) if log_x else (
            (x - low_x) / (high_x - low_x))  # fmt: skip
        up = (y - low_y) / (high_y - low_y)
        return LEFT + along * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    along_x = x_ticks or round_ticks(low_x, high_x)
    if x_label == "epoch" and high_x - low_x >= 1:
        along_x = [x for x in along_x if abs(x - round(x)) < 1e-9]
    parts = [_axes(place, round_ticks(low_y, high_y), along_x, low_x, low_y)]
    for name, y, colour in levels:
        _, at = place(low_x, y)
        parts.append(
            f'<line class="level c{colour % COLOURS}" x1={LEFT} x2={WIDTH - RIGHT} y1={at:.1f} y2={at:.1f}>'
            f"<title>{escape(name)}: {y:.4g}</title></line>"
        )
    parts += [_draw(line, place) for line in lines]
    return _figure(title, f"{title}: {', '.join(line.name for line in lines)}", parts, x_label, y_label)


def bar_chart(title: str, bars: Sequence[tuple[str, float]], *, x_label: str, y_label: str = "") -> str:
    """A `<figure>` with a histogram: (label, height) of neighbouring bins."""
    if not bars:
        return _empty(title)
    top = max(height for _, height in bars) or 1.0
    width = (WIDTH - LEFT - RIGHT) / len(bars)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x * width, HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    whole = [tick for tick in round_ticks(0.0, top) if tick == int(tick)]  # counts
    parts = [_axes(place, whole, (), 0.0, 0.0)]
    every = max(1, math.ceil(len(bars) / 8))
    for index, (label, height) in enumerate(bars):
        x, y = place(index, height)
        parts.append(
            f"<rect class=bar x={x + 0.5:.1f} y={y:.1f} width={max(width - 1, 0.5):.1f} "
            f"height={max(HEIGHT - BOTTOM - y, 0):.1f}><title>{escape(label)}: {height:g}</title></rect>"
        )
        if index % every == 0:
            parts.append(
                f"<text class=tick x={x + width / 2:.1f} y={HEIGHT - BOTTOM + 14} text-anchor=middle>"
                f"{escape(label)}</text>"
            )
    return _figure(title, title, parts, x_label, y_label)


def legend(entries: Sequence[tuple[str, int, str]]) -> str:
    """Names with their line: (name, colour, `solid`, `thin` or `dashed`)."""
    items = []
    for name, colour, style in entries:
        dash = " dashed" if style == "dashed" else " thin" if style == "thin" else ""
        mark = "" if style == "thin" else _marker(colour, 17, 6)
        items.append(
            f'<li><svg width=34 height=12 aria-hidden=true><line class="line c{colour % COLOURS}{dash}" '
            f"x1=1 x2=33 y1=6 y2=6></line>{mark}</svg> {escape(name)}</li>"
        )
    return f"<ul class=legend>{''.join(items)}</ul>"


def _empty(title: str) -> str:
    return f"<figure class=chart><figcaption>{escape(title)}</figcaption><p>no figures</p></figure>"


def _figure(title: str, described: str, parts: Sequence[str], x_label: str, y_label: str) -> str:
    """What was drawn, with its heading, the label of the x axis, and words for those who do not see it."""
    heading = escape(title) + (f" <small>{escape(y_label)}</small>" if y_label else "")
    below = (
        f"<text class=label x={(LEFT + WIDTH - RIGHT) / 2:.0f} y={HEIGHT - 6} text-anchor=middle>"
        f"{escape(x_label)}</text>"
    )
    return (
        f"<figure class=chart><figcaption>{heading}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(described, quote=True)}">'
        f"{''.join(parts)}{below}</svg></figure>"
    )


def _axes(place, y_ticks: Sequence[float], x_ticks: Sequence[float], low_x: float, low_y: float) -> str:
    parts = []
    for y in y_ticks:
        _, at = place(low_x, y)
        parts.append(f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={at:.1f} y2={at:.1f}></line>")
        parts.append(f"<text class=tick x={LEFT - 6} y={at + 4:.1f} text-anchor=end>{format_tick(y)}</text>")
    for x in x_ticks:
        at, _ = place(x, low_y)
        parts.append(
            f"<line class=axis x1={at:.1f} x2={at:.1f} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM + 4}></line>"
        )
        parts.append(
            f"<text class=tick x={at:.1f} y={HEIGHT - BOTTOM + 15} text-anchor=middle>{format_tick(x)}</text>"
        )
    bottom = HEIGHT - BOTTOM
    parts.append(f"<line class=axis x1={LEFT} x2={WIDTH - RIGHT} y1={bottom} y2={bottom}></line>")
    return "".join(parts)


def _draw(line: Line, place) -> str:
    """A line, its markers, and the value of each marked point as a title."""
    path, marks, pen_up = [], [], True
    count = len(line.x)
    every = max(1, count // 14)
    for index, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if not math.isfinite(y):
            pen_up = True
            continue
        across, down = place(x, y)
        path.append(f"{'M' if pen_up else 'L'}{across:.1f} {down:.1f}")
        pen_up = False
        if line.markers and (index % every == 0 or index == count - 1):
            label = f"{line.name}: {y:.4g} at {x:g}"
            marks.append(_marker(line.colour, across, down, label))
    style = (" thin" if line.thin else "") + (" dashed" if line.dashed else "")
    kind, name = f"line c{line.colour % COLOURS}{style}", escape(line.name, quote=True)
    drawn = f'<path class="{kind}" d="{"".join(path)}"><title>{name}</title></path>'
    return f"<g>{drawn}{''.join(marks)}</g>"


def _marker(colour: int, x: float, y: float, title: str = "") -> str:
    """One of eight shapes around (x, y)."""
    shapes = (
        "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z", "M-2.8 -2.8h5.6v5.6h-5.6z",
        "M0 -3.6l3.4 6h-6.8z", "M0 -3.9l3.9 3.9l-3.9 3.9l-3.9 -3.9z", "M0 3.6l3.4 -6h-6.8z",
        "M-1.2 -3.6h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4v-2.4h2.4z",
        "M-3.4 -1.8l1.6 -1.6l1.8 1.8l1.8 -1.8l1.6 1.6l-1.8 1.8l1.8 1.8l-1.6 1.6l-1.8 -1.8l-1.8 1.8l-1.6 -1.6"
        "l1.8 -1.8z",
        "M0 -4l1 3h3l-2.4 1.9l0.9 3l-2.5 -1.8l-2.5 1.8l0.9 -3l-2.4 -1.9h3z",
    )  # fmt: skip
    inside = f"<title>{escape(title)}</title>" if title else ""
    kind, place, shape = f"mark c{colour % COLOURS}", f"translate({x:.1f} {y:.1f})", shapes[colour % MARKERS]
    return f'<path class="{kind}" transform="{place}" d="{shape}">{inside}</path>'


def _span(values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        return low / 1.4, high * 1.4
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(low: float, high: float, zero: bool) -> tuple[float, float]:
    if zero:
        low = min(low, 0.0)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if zero and low == 0.0 else low - room), high + room


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high]."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= raw), power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def format_tick(value: float) -> str:
    """`0.002`, `1.5`, `20k`: as short as it stays exact."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1000:g}k"
    return f"{value:.6g}" if abs(value) >= 1e-3 else f"{value:.3g}"
