"""``fgsbir index`` and ``fgsbir search``, their pictures, and what the documentation says."""

from __future__ import annotations

import json
import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from fgsbir.cli import main
from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from fgsbir.gallery.figures import draw_search
from tests.support.gallery_cases import NAMES, save_model, write_photos
from tests.support.paths import ROOT

DOCUMENTATION = ROOT / "docs" / "gallery.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With photos/, runs/shoes/, sketch.png and shoes.gallery/ in it."""
    folder = tmp_path_factory.mktemp("cli")
    data = synthetic("shoes", 7, "test")
    save_model(folder / "runs" / "shoes")
    write_photos(data, folder / "photos", range(7))
    (folder / "photos" / "broken.jpg").write_text("no image")
    Image.fromarray(data.sketches[1]).save(folder / "sketch.png")
    assert main(["index", *map(str, (folder / "photos", "--model", folder / "runs" / "shoes")),
                 "--out", str(folder / "shoes.gallery")]) == 0  # fmt: skip
    return folder


def test_index_says_what_it_did(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = folder / "map.png"
    arguments = [str(folder / "photos"), "--out", str(folder / "shoes.gallery")]
    assert main(["index", *arguments, "--picture", str(picture)]) == 0
    out, err = capfd.readouterr()
    assert "7 photos (0 embedded, 7 as they were, 0 removed, 1 skipped)" in out
    assert f"fgsbir search {folder / 'shoes.gallery'}" in out
    (skipped,) = [line for line in err.splitlines() if line.startswith("skipped: ")]
    assert "broken.jpg" in skipped
    assert min(Image.open(picture).size) > 200


def test_search_prints_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "shoes.gallery"), str(folder / "sketch.png")]
    assert main(["search", *arguments, "-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["r", "d", "D", "photo"]
    ranked = [line for line in lines if line.endswith(".png")]
    assert [line.split()[0] for line in ranked] == ["1", "2", "3"]
    assert all(os.path.isfile(line.split()[-1]) for line in ranked)


def test_search_says_how_it_read_the_sketch(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sketch = Image.open(folder / "sketch.png")
    sheet = Image.new("L", (900, 700), 255)
    sheet.paste(sketch, (600, 400))
    ImageOps.invert(sheet).save(tmp_path / "small.png")
    found = {}
    for name, path in (("small", tmp_path / "small.png"), ("drawn", folder / "sketch.png")):
        assert main(["search", str(folder / "shoes.gallery"), str(path), "--json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["small"]["changes"] == [
        "turned to dark on light",
        "moved and scaled into the frame",
    ]
    first = [found[name]["matches"][0]["path"] for name in ("small", "drawn")]
    assert first[0] == first[1]
    assert main(["search", str(folder / "shoes.gallery"), str(tmp_path / "small.png")]) == 0
    err = capsys.readouterr().err
    assert err == "sketch: turned to dark on light, moved and scaled into the frame\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Image.new("L", (300, 200), 255), "the sketch is empty"),
        ("<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not read here"),
    ],
)
def test_a_sketch_that_shows_nothing_is_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: Image.Image | str,
    message: str,
) -> None:
    path = tmp_path / "sketch.png"
    if isinstance(content, str):
        path.write_text(content)
    else:
        content.save(path)
    assert main(["search", str(folder / "shoes.gallery"), str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_search_prints_json_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = Gallery.load(folder / "shoes.gallery")
    on, off = NAMES[0], NAMES[1]
    expected = gallery.search(
        folder / "sketch.png", attribute_weight=0.4, required={on: True, off: False}
    )
    picture = folder / "found.png"
    command = ["search", *map(str, (folder / "shoes.gallery", folder / "sketch.png"))]
    command += ["--attribute-weight", "0.4", "--attribute", on, "--not-attribute", off]
    assert main([*command, "--json", "--picture", str(picture)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["sketch"] == gallery.predicted(folder / "sketch.png")
    assert [(m["path"], m["distance"]) for m in printed["matches"]] == [
        (str(match.path), match.distance) for match in expected
    ]
    assert min(Image.open(picture).size) > 100


@pytest.mark.parametrize("names", [(), NAMES])
@pytest.mark.parametrize("k", [0, 3, 12])
def test_a_search_is_drawn_whatever_came(folder: Path, names: tuple[str, ...], k: int) -> None:
    gallery = Gallery.load(folder / "shoes.gallery")
    matches = (2 * gallery.search(folder / "sketch.png"))[:k]
    predicted = dict.fromkeys(names, 0.7)
    picture = draw_search(folder / "sketch.png", predicted, matches, folder / f"{k}.png")
    with Image.open(picture) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)}
    assert len(colours) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "none", "--model", "runs/shoes", "--out", "new"], "no such folder: none"),
        (["index", "photos", "--model", "none", "--out", "new"], "no such checkpoint"),
        (
            ["index", "photos", "--model", "runs/shoes", "--sketches", "photos", "--out", "new"],
            "sketches: expected none with a model that learned from sketches in training",
        ),
        (["index", "photos", "--sketches", "none", "--out", "new"], "no such folder: none"),
        (["index", "runs", "--model", "runs/shoes", "--out", "new"], "runs: no images"),
        (["index", "photos", "--model", "runs/shoes", "--out", "photos"], "is not a gallery"),
        (
            ["index", "photos", "--model", "runs/shoes", "--out", "new", "--index", "b-tree"],
            "index: expected 'exact'",
        ),
        (["search", "photos", "sketch.png"], "no gallery here"),
        (["search", "shoes.gallery", "none.png"], "no such file: none.png"),
        (["search", "shoes.gallery", "sketch.png", "-k", "0"], "k: expected 1 or more"),
        (["search", "shoes.gallery", "sketch.png", "--attribute", "wings"], "no attribute 'wings'"),
        (
            [
                "search",
                "shoes.gallery",
                "sketch.png",
                "--attribute",
                "laces",
                "--not-attribute",
                "laces",
            ],
            "both required and excluded",
        ),
    ],
)
def test_wrong_input_ends_in_one_line(
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fgsbir: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "new").exists()


def test_a_name_cannot_steer_the_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "two\nlines \x1b[31m.png"
    (tmp_path / name).write_bytes((folder / "photos" / "000.png").read_bytes())
    (tmp_path / f"broken {name}").write_bytes(b"")
    gallery = str(tmp_path / "new.gallery")
    arguments = [str(tmp_path), "--model", str(folder / "runs" / "shoes"), "--out", gallery]
    assert main(["index", *arguments]) == 0
    assert main(["search", gallery, str(folder / "sketch.png")]) == 0
    out, err = capsys.readouterr()
    assert "two\N{REPLACEMENT CHARACTER}lines \N{REPLACEMENT CHARACTER}[31m.png" in out
    assert "\x1b" not in out + err
    assert main(["search", gallery, str(folder / "sketch.png"), "--json"]) == 0
    (match,) = json.loads(capsys.readouterr().out)["matches"]
    assert match["path"] == str(tmp_path / name)


def test_an_empty_gallery_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Gallery.create(folder / "runs" / "shoes", folder / "empty.gallery")
    assert main(["search", str(folder / "empty.gallery"), str(folder / "sketch.png")]) == 2
    assert "holds no photos" in capsys.readouterr().err


def test_nothing_readable_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad").mkdir()
    (folder / "bad" / "a.png").write_text("no image")
    arguments = [str(folder / "bad"), "--model", str(folder / "runs" / "shoes")]
    assert main(["index", *arguments, "--out", str(folder / "bad.gallery")]) == 2
    assert "none of the images could be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["index", "search"])
def test_help_carries_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"Example: fgsbir {command}" in capsys.readouterr().out


def test_the_documentations_code_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    five, *_ = blocks
    assert len(five.strip().splitlines()) == 5
    variables: dict[str, object] = {}
    for block in blocks:
        with pytest.warns(UserWarning, match="broken") if block is five else nullcontext():
            exec(block, variables)
    assert str(folder / "photos") in capsys.readouterr().out
