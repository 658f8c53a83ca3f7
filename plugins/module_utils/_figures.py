# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What was measured of NIMs, as it is kept, and what a request costs by it. Pure.

Seconds are what is measured and kept. Money is seconds times the price at the time when somebody asks, so a new price
makes no figure wrong. A figure holds for the NIM on which it was measured: its name, GPU tier and image.
"""

from __future__ import annotations

import json
import math
import typing as t

VERSION = "1.0"

IDENTITY = ("target", "name", "node")
"""What there is one figure of at most."""

MEASURED_ON = (*IDENTITY, "gpu_tier", "image")
"""What has to be as it was for a figure to hold."""

SECONDS_PER_HOUR = 3600.0

Figure = t.Mapping[str, t.Any]


class FiguresError(ValueError):
    """What should be kept figures has another form. The text says what to do."""


def parse(stored: t.Any) -> list[dict[str, t.Any]]:
    """Return the figures of a document, given as a mapping or as the text of its file. Nothing gives none.

    Raises FiguresError.
    """
    cure = "repair the file of the benchmark, or remove it and measure again"
    if isinstance(stored, (str, bytes)):
        try:
            stored = json.loads(stored) if stored.strip() else None
        except ValueError as error:
            raise FiguresError(f"the benchmark's figures are not JSON ({error}); {cure}") from error
    if not stored:
        return []
    figures = stored.get("figures") if isinstance(stored, t.Mapping) else None
    if not isinstance(figures, list):
        raise FiguresError(f"the benchmark's document has no list figures; {cure}")
    for number, figure in enumerate(figures):
        if not isinstance(figure, t.Mapping) or any(not isinstance(figure.get(name), str) for name in IDENTITY):
            raise FiguresError(f"figures[{number}] must be a mapping with {', '.join(IDENTITY)}; {cure}")
        if _amount(figure.get("seconds")) is None:
            raise FiguresError(f"figures[{number}].seconds must be a number above 0; {cure}")
    return [dict(figure) for figure in figures]


def merged(
    stored: t.Sequence[Figure], measured: t.Sequence[Figure], exists: t.Callable[[Figure], bool]
) -> dict[str, t.Any]:
    """Return the document to keep: what was measured now, and of the rest what still exists."""
    new = {_key(figure): dict(figure) for figure in measured}
    old = {_key(figure): dict(figure) for figure in stored if exists(figure)}
    found = {**old, **new}
    return {"version": VERSION, "figures": [found[key] for key in sorted(found)]}


def _key(figure: Figure) -> tuple[str, ...]:
    return tuple(str(figure[name]) for name in IDENTITY)


def holding(figures: t.Iterable[Figure], nim: Figure) -> Figure | None:
    """Return the figure of a NIM as it is now. ``nim`` has all of C(MEASURED_ON), and of the request what has to be."""
    return next((one for one in figures if all(one.get(name) == value for name, value in nim.items())), None)


def image_seconds(figure: Figure | None) -> float | None:
    """Return how long an image takes as the node asks for it by itself."""
    return _amount(figure.get("seconds")) if figure is not None and figure.get("kind") == "image" else None


def tokens_seconds(figure: Figure | None) -> float | None:
    """Return how long a language model takes for 1,000 tokens, one request at a time."""
    return None if figure is None or figure.get("kind") != "llm" else _amount(figure.get("seconds_per_1k_tokens"))


def cost(seconds: float | None, hourly: t.Any, replicas: t.Any = 1) -> float | None:
    """Return what so many seconds of one copy cost. ``hourly`` is the price of all copies together."""
    price = _amount(hourly)
    copies = _amount(replicas) or 1.0
    if seconds is None or price is None:
        return None
    return round(price / copies * seconds / SECONDS_PER_HOUR, 6)


def expected_seconds(
    figure: Figure, *, steps: int | None = None, width: int | None = None, height: int | None = None, tokens: int = 1000
) -> float | None:
    """Return how long a request will take: an image in so many steps of this size, or a text of so many tokens.

    What is not given is as it was measured. It is an estimate: time is taken to grow with steps and pixels alike.
    """
    if figure.get("kind") == "llm":
        each = _amount(figure.get("seconds_per_1k_tokens"))
        return None if each is None else each * tokens / 1000
    each = _amount(figure.get("seconds_per_step_megapixel"))
    sizes = [_amount(value) for value in (steps or figure.get("steps"), width or figure.get("width"))]
    sizes.append(_amount(height or figure.get("height")))
    if each is None or any(size is None for size in sizes):
        return None
    count, across, down = (t.cast("float", size) for size in sizes)
    return each * count * across * down / 1e6


def _amount(value: t.Any) -> float | None:
    """Return a number above 0, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


__all__ = (
    "IDENTITY",
    "MEASURED_ON",
    "VERSION",
    "FiguresError",
    "cost",
    "expected_seconds",
    "holding",
    "image_seconds",
    "merged",
    "parse",
    "tokens_seconds",
)
