"""A plot of how many activities are on the bus after how long, as SVG."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import log

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 380, 56, 24, 120, 44
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


def delays_svg(title: str, curves: Mapping[str, tuple[Sequence[float], int]]) -> str:
    """Draw a curve for each name: the delays in seconds of those that arrived, and how many there are."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="15" font-size="13">{title}</text>',
        *_grid(),
    ]
    for number, (name, (delays_s, count)) in enumerate(curves.items()):
        parts += _curve(name, sorted(delays_s), count, COLOURS[number % len(COLOURS)])
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


def _curve(name: str, delays_s: Sequence[float], count: int, colour: str) -> list[str]:
    steps = [FIRST_S * (LAST_S / FIRST_S) ** (n / POINTS) for n in range(POINTS + 1)]
    shares = [bisect_right(delays_s, at_s) / max(1, count) for at_s in steps]
    points = " ".join(f"{_x(at_s):.1f},{_y(share):.1f}" for at_s, share in zip(steps, shares, strict=True))
    label_y = _y(shares[-1]) + 4
    return [
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{WIDTH - RIGHT + 6}" y="{label_y:.1f}" fill="{colour}">{name}</text>',
    ]


def _x(at_s: float) -> float:
    share = log(at_s / FIRST_S) / log(LAST_S / FIRST_S)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
