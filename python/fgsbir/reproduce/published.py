"""Published figures on the test splits of QMUL Shoe and Chair."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One published result, acc@1 / acc@10 / trip-acc in percent, None where not reported."""

    method: str
    source: str
    shoes: tuple[float | None, float | None, float | None]
    chairs: tuple[float | None, float | None, float | None]
    reference: str = ""
    """What a line in a plot calls it; empty where plots leave it out."""

    def of(self, category: str | None) -> tuple[float | None, float | None, float | None]:
        """The figures of a category; of any other than these two, nothing."""
        return {"shoes": self.shoes, "chairs": self.chairs}.get(category or "", (None, None, None))


PUBLISHED = (
    Published(
        "triplet model",
        "CVPR 2016, abstract",
        (39.13, 87.83, 69.49),
        (69.07, 97.94, 72.30),
    ),
    Published(
        "triplet model, cleaned sketches",
        "authors' repository",
        (52.17, 92.17, 72.29),
        (72.16, 98.96, 74.36),
    ),
    Published(
        "attribute-driven multi-task model",
        "Song et al., BMVC 2016",
        (50.43, 91.30, 70.59),
        (78.35, 98.97, 73.13),
        "BMVC 2016",
    ),
    Published(
        "Sketch-a-Net, pretrained on TU-Berlin only",
        "repository SketchTripletNetworks",
        (45.22, 82.61, 72.15),
        (76.29, 92.78, 73.45),
    ),
    Published(
        "spatial-semantic attention, HOLEF",
        "ICCV 2017",
        (61.74, None, None),
        (81.44, None, None),
    ),
    Published(
        "TC-Net, DenseNet-169 pretrained on ImageNet",
        "2019",
        (63.48, None, None),
        (95.88, None, None),
    ),
    Published(
        "pretrained on ImageNet",
        "Yu et al., IJCV 2021",
        (66.1, None, None),
        (91.8, None, None),
    ),
    Published("people", "", (66.09, None, None), (94.85, None, None), "people"),
    Published(
        "photo pre-training, ResNet-50", "CVPR 2023", (76.52, None, None), (98.97, None, None)
    ),
)
