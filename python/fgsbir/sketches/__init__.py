"""Reading of sketches: from whatever was drawn on to dark lines on white in the middle of a frame.

from fgsbir.sketches import read_sketch

reading = read_sketch("photo-of-paper.jpg")
reading.image, reading.changes
"""

from .images import ReadSketches
from .reading import EmptySketchError, Sketch, SketchReading, read_sketch

__all__ = ["EmptySketchError", "ReadSketches", "Sketch", "SketchReading", "read_sketch"]
