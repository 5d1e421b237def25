"""Strokes of a drawing: which ink belongs to it, and how wide its lines are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from skimage.morphology import skeletonize

from .morphology import Grey, dilate, open_

LINE = 96  # ink from which a pixel belongs to a line
DARK = 128  # ink that a piece has somewhere, unless it lies beside darker ones
FAINT_LINE = 56  # the same of a line beside darker ones, if it is no shorter than LONG of them
LONG = 0.15  # of the extent of the drawing
BESIDE = 0.05  # of the extent of the drawing
MOST_PIECES = 300  # that gaps are measured between
APART = 0.15  # of the extent of the drawing: gaps beyond which a piece lies apart from it
SMALL = 0.3  # extent beside that of the drawing, of what lies apart and is none of it
MARGIN = 0.2  # of the side, along the border, where that lies
SPECK = 0.08  # extent beside that of the drawing, of what is dirt unless it lies within
DOT = 2.0  # widths of a line: what is no longer is a dot
BAND = 0.06  # of the side, along the border: a long line within is the edge of the sheet
DOT_SIDE = 0.08  # of the side of the picture: a larger blob is a drawing
FLECK = 0.1  # of the side: that many pieces that are no longer are noise
FLECKS = (5, 0.04, 4.0)  # pixels or share of the side, and extents of one: scattered noise
LEAST_EXTENT = 0.02  # of the side of the picture: less is no drawing
LEAST_PIXELS = 5  # the same in small pictures
WIDTHS = (0.45, 2.7)  # pixels of a frame of 256, as the lines of the sets of sketches are
PEN = np.array([1.0, 0.35, 0.1], dtype=np.float32)  # middle, beside, at the corner
PEN_WIDTH = 1.6


class Drawing(NamedTuple):
    """Ink that belongs together.

    Attributes:
        ink: (H, W) uint8, 255 where a line is.
        box: left, top, right, bottom of it in pixels, right and bottom exclusive.
        had_specks: whether dirt was left out.
    """

    ink: Grey
    box: tuple[int, int, int, int]
    had_specks: bool

    @property
    def side(self) -> int:
        """The longer side of the box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def find_drawing(ink: Grey) -> Drawing | None:
    """The ink of the drawing alone; None where there is no drawing: nothing, or one dot."""
    side = max(ink.shape)
    pieces = _Pieces(ink)
    if pieces.large < max(LEAST_PIXELS, LEAST_EXTENT * side):
        return None
    pieces.drop(_along_the_border(pieces))
    if not pieces.large:
        return None
    deciding = pieces.extents >= SPECK * pieces.large
    if pieces.large < FLECK * side and np.count_nonzero(deciding) > MOST_PIECES:
        return None
    deciding &= ~_apart(pieces, deciding)
    left, top = pieces.boxes[deciding, :2].min(axis=0)
    right, bottom = pieces.boxes[deciding, 2:].max(axis=0)
    box = int(left), int(top), int(right), int(bottom)
    spread = max(box[2] - box[0], box[3] - box[1])
    if pieces.large < max(FLECKS[0], FLECKS[1] * side) and spread > FLECKS[2] * pieces.large:
        return None
    within = (slice(box[1], box[3]), slice(box[0], box[2]))
    if pieces.large < DOT_SIDE * side and _is_dot(ink[within]):
        return None
    outside = ~_within(pieces.boxes, box)
    if not (outside & (pieces.extents > 0)).any():
        return Drawing(pieces.ink, box, False)
    # Where there is dirt around a drawing there is some within it.
    pieces.drop(outside | (pieces.extents <= DOT * line_width(ink[within]) + 2))
    return Drawing(pieces.ink, box, True)


class _Pieces:
    """Connected pieces of ink.

    Attributes:
        ink: (H, W) uint8, of all of them.
        numbers: (H, W), of the piece at each pixel, from 1; 0 for none.
        boxes: (N, 4) left, top, right, bottom in pixels, right and bottom exclusive.
        extents: (N,) the longer side of each; 0 for those that are too faint to matter.
    """

    def __init__(self, ink: Grey) -> None:
        self.ink = ink
        inked = ink > LINE // 2
        joined = dilate(inked.astype(np.uint8), 3)
        self.numbers, count = ndimage.label(joined, np.ones((3, 3)))
        found = ndimage.find_objects(np.where(inked, self.numbers, 0))
        boxes = [(x.start, y.start, x.stop, y.stop) for y, x in found]
        self.boxes = np.array(boxes, dtype=np.int64).reshape(-1, 4)
        strong = np.zeros(count + 1, dtype=bool)
        strong[self.numbers[ink > DARK]] = True
        extents = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1, initial=0)
        self.extents = np.where(strong[1:], extents, 0)
        faint = np.zeros(count + 1, dtype=bool)
        faint[self.numbers[ink > FAINT_LINE]] = True
        faint[1:] &= ~strong[1:] & (extents >= LONG * self.large)
        if strong.any() and faint.any():  # pencil beside ink
            left, top = self.boxes[strong[1:], :2].min(axis=0)
            right, bottom = self.boxes[strong[1:], 2:].max(axis=0)
            low, high = self.boxes[:, :2] - (right, bottom), (left, top) - self.boxes[:, 2:]
            beside = np.maximum(low, high).max(axis=1) <= BESIDE * self.large
            self.extents = np.where(faint[1:] & beside, extents, self.extents)

    @property
    def large(self) -> int:
        """The largest extent."""
        return int(self.extents.max(initial=0))

    def drop(self, which: NDArray[np.bool_]) -> None:
        """Takes pieces away."""
        if which.any():
            self.ink = np.where(np.concatenate([[False], which])[self.numbers], 0, self.ink)
            self.extents = np.where(which, 0, self.extents)


def _apart(pieces: _Pieces, deciding: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pieces lie far from the drawing and near the border: a date, a hole, a button."""
    apart = np.zeros_like(deciding)
    indices = np.flatnonzero(deciding)
    if not 1 < len(indices) <= MOST_PIECES:
        return apart
    boxes = pieces.boxes[indices]
    gaps = np.maximum(boxes[:, None, :2] - boxes[None, :, 2:], 0).max(axis=2)
    near = np.maximum(gaps, gaps.T) <= APART * pieces.large
    _, cluster = connected_components(near)
    height, width = pieces.ink.shape
    corners = [
        (boxes[cluster == c, :2].min(axis=0), boxes[cluster == c, 2:].max(axis=0))
        for c in range(cluster.max() + 1)
    ]
    sizes = np.array([(high - low).max() for low, high in corners])
    for c, (low, high) in enumerate(corners):
        middle = (low + high) / 2 / (width, height)
        if sizes[c] < SMALL * sizes.max() and np.abs(middle - 0.5).max() > 0.5 - MARGIN:
            apart[indices[cluster == c]] = True
    return apart


def _along_the_border(pieces: _Pieces) -> NDArray[np.bool_]:
    """Which pieces are the edge of a sheet or a frame, or the dark border of a photo."""
    boxes, extents = pieces.boxes, pieces.extents
    height, width = pieces.ink.shape
    band = round(BAND * min(height, width))
    touching = (
        (boxes[:, :2].min(axis=1) < 2) | (width - boxes[:, 2] < 2) | (height - boxes[:, 3] < 2)
    )
    along = touching & (extents > 0) & (extents < 0.5 * pieces.large)
    for i in np.flatnonzero(extents > 0.5 * min(height, width)):
        left, top, right, bottom = boxes[i]
        near = (left < band) | (top < band) | (right > width - band) | (bottom > height - band)
        if near:
            mask = pieces.numbers[top:bottom, left:right] == i + 1
            inner = mask[max(0, band - top) : height - band - top]
            inner = inner[:, max(0, band - left) : width - band - left]
            along[i] = np.count_nonzero(inner) < 0.03 * np.count_nonzero(mask)
    rest = ~along & (extents > SPECK * pieces.large)
    # A drawing that was cut out touches the border itself.
    return np.zeros_like(along) if (rest & touching).any() else along


def _within(boxes: NDArray[np.int64], box: tuple[int, ...]) -> NDArray[np.bool_]:
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.all((middles >= box[:2]) & (middles <= box[2:]), axis=1)


def _is_dot(ink: Grey) -> bool:
    """Whether the ink is one blob, such as a pen leaves that is set down once."""
    mask = ink > LINE
    mask = mask[mask.any(axis=1)][:, mask.any(axis=0)]
    if min(mask.shape) < 0.5 * max(mask.shape):
        return False
    return line_width(ink) * 3 > max(mask.shape) and mask.mean() >= 0.6


def line_width(ink: Grey) -> float:
    """The usual width of the lines in pixels; 0 without lines.

    All ink by the length of its skeleton. A diagonal pixel of a skeleton is counted as one pixel
    long, so that slanted lines come out up to 1.4 times as wide.
    """
    middle = skeletonize(ink > LINE // 2)
    length = np.count_nonzero(middle)
    return float(ink.sum(dtype=np.int64)) / 255 / length if length else 0.0


def redraw_lines(ink: Grey, width: float) -> Grey:
    """Ink of a frame of 256 with lines as wide as models have seen, drawn along their middle.

    Of a filled area, the outline.

    Args:
        ink: (256, 256) uint8.
        width: of its lines.
    """
    mask = ink > LINE // 2
    middle = skeletonize(mask)
    size = 2 * int(1.5 * width) + 1
    if size > 8:
        filled = open_(mask.astype(np.uint8), size) > 0
        if filled.any():
            outline = filled & ~ndimage.binary_erosion(filled)
            middle = skeletonize(mask & ~filled) | outline
    return _pen(middle)


def _pen(middle: NDArray[np.bool_]) -> Grey:
    """A line of even width along the set pixels."""
    dots = np.pad(middle, 1).astype(np.float32)
    drawn = dots.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            drawn = np.maximum(drawn, PEN[1] * np.roll(dots, step, axis))
    for down in (-1, 1):
        for right in (-1, 1):
            drawn = np.maximum(drawn, PEN[2] * np.roll(dots, (down, right), (0, 1)))
    return (255 * drawn[1:-1, 1:-1]).round().astype(np.uint8)
