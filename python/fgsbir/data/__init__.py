"""Sets of sketches and photos: the QMUL benchmark, one's own pairs, and a synthetic set."""

from .align import align_attributes
from .dataset import SketchPhotoSet
from .decoding import read_image
from .edges import PhotoEdges, extract_edges
from .extra import add_shoe_sketches, load_photos, with_extra
from .images import ImageFiles, Images
from .loaders import open_dataset, open_datasets
from .pair_files import load_csv, load_folder
from .pairs import Pair, build_set
from .procedural import load_synthetic, synthetic
from .sbir import load_sbir, majority

__all__ = [
    "ImageFiles",
    "Images",
    "Pair",
    "PhotoEdges",
    "SketchPhotoSet",
    "add_shoe_sketches",
    "align_attributes",
    "build_set",
    "extract_edges",
    "load_csv",
    "load_folder",
    "load_photos",
    "load_sbir",
    "load_synthetic",
    "majority",
    "open_dataset",
    "open_datasets",
    "read_image",
    "synthetic",
    "with_extra",
]
