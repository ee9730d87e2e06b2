"""A plot of how many activities are on the bus after how long, as SVG."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 380, 56, 24, 160, 44
LABEL_HEIGHT = 15
TICKS_S = {
    "1 min": 60,
    "5 min": 300,
    "15 min": 900,
    "1 h": 3_600,
    "6 h": 21_600,
    "1 d": 86_400,
    "7 d": 604_800,
}
FIRST_S, LAST_S = 60, 604_800
COLOURS = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c92a2a", "#495057")
POINTS = 120
FONT = 'role="img" font-family="sans-serif" font-size="12"'


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The delays in seconds of those that arrived, of `count`. Curves of one `group` have one colour."""

    name: str
    group: str
    delays_s: Sequence[float]
    count: int
    is_dashed: bool = False

    def shares(self) -> list[tuple[float, float]]:
        """How many arrived after so many seconds."""
        ordered = sorted(self.delays_s)
        steps = (FIRST_S * (LAST_S / FIRST_S) ** (n / POINTS) for n in range(POINTS + 1))
        return [(at_s, bisect_right(ordered, at_s) / max(1, self.count)) for at_s in steps]


def delays_svg(title: str, curves: Sequence[Curve]) -> str:
    groups = list(dict.fromkeys(curve.group for curve in curves))
    colours = {curve: COLOURS[groups.index(curve.group) % len(COLOURS)] for curve in curves}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="15" font-size="13">{title}</text>',
        *_grid(),
        *(_line(curve, colour) for curve, colour in colours.items()),
        *_labels(colours),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _grid() -> list[str]:
    lines = []
    for percent in range(0, 101, 25):
        y = _y(percent / 100)
        lines += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dee2e6"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>',
        ]
    for name, at_s in TICKS_S.items():
        x = _x(at_s)
        lines += [
            f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dee2e6"/>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{name}</text>',
        ]
    return lines


def _line(curve: Curve, colour: str) -> str:
    points = " ".join(f"{_x(at_s):.1f},{_y(share):.1f}" for at_s, share in curve.shares())
    dashes = ' stroke-dasharray="5 4"' if curve.is_dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _labels(colours: Mapping[Curve, str]) -> list[str]:
    """The names at the ends of the curves, moved down where they would lie on each other."""
    labels, free_y = [], 0.0
    for curve in sorted(colours, key=lambda curve: -curve.shares()[-1][1]):
        y = max(free_y, _y(curve.shares()[-1][1]) + 4)
        free_y = y + LABEL_HEIGHT
        colour = colours[curve]
        labels.append(f'<text x="{WIDTH - RIGHT + 6}" y="{y:.1f}" fill="{colour}">{curve.name}</text>')
    return labels


def _x(at_s: float) -> float:
    share = log(at_s / FIRST_S) / log(LAST_S / FIRST_S)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
