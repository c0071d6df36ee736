"""Text on pictures: how wide it is, how to shorten it, and how to keep it from overlapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from sim.view.colours import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL, TEXT, HEAD = 7.5, 9.0, 11.5  # points


class Labeller:
    """Puts texts into a panel, each only where it overlaps none of those before.

    Args:
        size: of the whole figure, in inches.
        panel: its limits must not change afterwards.
        measure: knows how wide texts are.
    """

    def __init__(self, size: tuple[float, float], panel: Axes, measure: Measure) -> None:
        self._panel = panel
        self._measure = measure
        self._taken: dict[int, list[tuple[float, float, float, float]]] = {}
        box = panel.get_position()
        left, right = panel.get_xlim()
        bottom, top = panel.get_ylim()
        self._left, self._bottom = left, bottom
        self._x = box.width * size[0] / (right - left)
        self._y = box.height * size[1] / (top - bottom)
        self._width, self._height = box.width * size[0], box.height * size[1]

    def put(
        self,
        x: float,
        y: float,
        text: str,
        *,
        dx: float = 0.0,
        dy: float = 0.0,
        colour: str = INK,
        align: Literal["left", "center"] = "left",
        size: float = SMALL,
        inside: bool = False,
        must: bool = False,
    ) -> bool:
        """Writes `text` at a point moved by `dx`, `dy` inches, if there is room for it.

        Args:
            inside: move it sideways into the panel if it would stick out.
            must: write it even where there is no room.

        Returns:
            False when it was not written.
        """
        wide, high = self._measure.width(text, size) + 0.04, size / 58
        left = (x - self._left) * self._x + dx - (wide / 2 if align == "center" else 0)
        low = (y - self._bottom) * self._y + dy - high / 2
        if inside:
            left = max(0.0, min(left, self._width - wide))
        box = (left, low, left + wide, low + high)
        if not must and not self._free(box):
            return False
        self._take(box)
        self._panel.text(
            self._left + (left + 0.02) / self._x,
            self._bottom + (low + high / 2) / self._y,
            text,
            fontsize=size,
            color=colour,
            va="center",
            ha="left",
            zorder=5,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.4},
        )
        return True

    def reserve(self, x: float, y: float, half: float) -> None:
        """Keeps texts off a square around a point, with sides of twice `half` inches."""
        left, low = (x - self._left) * self._x - half, (y - self._bottom) * self._y - half
        self._take((left, low, left + 2 * half, low + 2 * half))

    def keep_off(self, x: float, y: float) -> None:
        """Keeps texts off an upright line, from the top of the panel to `y`."""
        at, low = (x - self._left) * self._x, (y - self._bottom) * self._y
        self._take((at - 0.02, low, at + 0.02, self._height))

    def _take(self, box: tuple[float, float, float, float]) -> None:
        for key in range(int(box[0]), int(box[2]) + 1):
            self._taken.setdefault(key, []).append(box)

    def _free(self, box: tuple[float, float, float, float]) -> bool:
        left, low, right, high = box
        if left < -0.02 or right > self._width + 0.3 or low < 0 or high > self._height:
            return False
        return not any(
            left < other[2] and other[0] < right and low < other[3] and other[1] < high
            for key in range(int(left) - 1, int(right) + 2)
            for other in self._taken.get(key, ())
        )


class Measure:
    """Widths of texts in inches."""

    def __init__(self) -> None:
        self._renderer: Any = RendererAgg(72, 72, 72)  # type: ignore[no-untyped-call]  # matplotlib has no types here
        self._fonts: dict[tuple[float, bool], FontProperties] = {}

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Returns the width of a text of `size` points."""
        font = self._fonts.get((size, bold))
        if font is None:
            font = self._fonts[size, bold] = FontProperties(size=size, weight="bold" if bold else "normal")
        return float(self._renderer.get_text_width_height_descent(text, font, ismath=False)[0]) / 72 * 1.04


def shorten(name: str, limit: int = 30) -> str:
    """Cuts the middle out of a long name."""
    if len(name) > limit:
        keep = limit - 1
        name = name[: keep - keep // 2] + "…" + name[-(keep // 2) :]
    return name


def many(count: int, word: str) -> str:
    """Returns a number and what it counts: "1 task", "2 tasks"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def amount(count: float) -> str:
    """Returns bytes with three digits, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:  # what is more is rounded to 1,000, which is the next unit's 1
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
