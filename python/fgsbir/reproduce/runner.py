"""Runner of a reproduction: trains and scores every row.

From the command line: ``fgsbir reproduce --data sbir_cvpr2016 --out runs/table``. It may be killed
and started again: every training resumes where it stopped, and what is finished is not done again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic_files import file_digest, write_json
from ..config import EvalConfig
from ..data import SketchPhotoSet, align_attributes, open_dataset, with_extra
from ..data.classified_images import open_classes
from ..data.images import Images
from ..data.splits import fold
from ..data.triplet_lists import attribute_triplets, human_triplets, random_triplets
from ..evaluation.metrics import first_ranks, score
from ..evaluation.ranking import FrozenMaps, rank_together
from ..evaluation.robustness import robustness_table
from ..models.checkpoint import FILE_NAME, Run
from ..training.frozen_features import FOLDER
from ..training.pretrain import pretrain
from ..training.run_log import LOG_NAME
from ..training.train import train
from .report import write_report
from .rows import ROWS, VARIANTS, Row, Variant, override
from .spec import Job, Task

SCORES_NAME = "scores.json"
CURVE = 50  # acc@K is noted for K up to this


def reproduce(
    task: Task,
    out: str | Path,
    *,
    features: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Trains and scores every row, and leaves a report in a folder.

    Args:
        task: what to train and to score.
        out: the folder.
        features: that of what frozen layers give; None for one in `out`.
        progress: whether to show it on stderr.

    Returns:
        ``REPORT.md``; beside it are ``results.json``, plots, and every run under ``runs/``.

    Raises:
        ValueError: for a task that does not fit the data, or a folder with other runs of the same
            names.
    """
    task.check()
    start = time.perf_counter()
    out = Path(out)
    kept = out / FOLDER if features is None else Path(features)
    categories: tuple[str | None, ...] = task.categories or (None,)
    training = {c: in_memory(open_dataset(task.data, c, "train")) for c in categories}
    scored = training
    if not task.folds:
        scored = {c: in_memory(open_dataset(task.data, c, "test")) for c in categories}
    rows, left_out = _possible(task, list(training.values()))
    task = _pretrained(task, out, progress)

    results: list[dict[str, Any]] = []
    together: dict[tuple[Any, ...], list[tuple[Job, Run]]] = {}
    maps = FrozenMaps()
    jobs = list(_jobs(task, rows, categories, out))
    for number, job in enumerate(jobs, 1):
        if progress:
            print(f"[{number}/{len(jobs)}] {job.folder.relative_to(out)}", flush=True)
        run, galleries, banks = _train(job, task, training, scored, kept, progress)
        singles = [n for n, row in rows.items() if row.variant == job.variant and not row.ensemble]
        ensembles = [n for n, row in rows.items() if row.variant == job.variant and row.ensemble]
        results += _results(out, task, singles, [(job, run)], galleries, banks, maps, job.seed)
        if ensembles:
            members = together.setdefault((job.variant, job.categories, job.fold), [])
            members.append((job, run))
            if len(members) == len(task.seeds):
                results += _results(out, task, ensembles, members, galleries, banks, maps, None)
    return write_report(out, task, results, left_out, time.perf_counter() - start)


def _results(
    out: Path,
    task: Task,
    rows: Sequence[str],
    members: Sequence[tuple[Job, Run]],
    galleries: Sequence[SketchPhotoSet],
    banks: Sequence[Images],
    maps: FrozenMaps,
    seed: int | None,
) -> Iterator[dict[str, Any]]:
    """Scores of one run, or of several that rank together, for each row and category."""
    job = members[0][0]
    for name in rows:
        scoring = dataclasses.replace(task.scoring, metric=task.config.loss.metric)
        if not ROWS[name].fused:
            scoring = dataclasses.replace(scoring, attribute_weight=0.0)
        scoring = dataclasses.replace(scoring, **ROWS[name].scoring)
        for category, gallery, bank in zip(job.categories, galleries, banks, strict=True):
            robust = task.robustness and not ROWS[name].ensemble
            found = _score_once(members, gallery, bank, scoring, robust, maps)
            place = {"category": category, "seed": seed, "fold": job.fold}
            folders = [str(member.folder.relative_to(out)) for member, _ in members]
            ranked = {"data": gallery.name, "scoring": asdict(scoring)}
            yield {"row": name, **place, "runs": folders, **ranked, **found}


def in_memory(data: SketchPhotoSet) -> SketchPhotoSet:
    """The same set with its line images decoded, once for all runs; photos are never looked at.

    Images of different shapes stay where they are.
    """
    return dataclasses.replace(data, sketches=_stacked(data.sketches), edges=_stacked(data.edges))


def _stacked(images: Images) -> Images:
    kept: list[NDArray[np.uint8]] = []
    for image in map(np.asarray, images):
        if kept and image.shape != kept[0].shape:
            return images
        kept.append(image)
    return np.stack(kept) if kept else images


def _possible(task: Task, data: list[SketchPhotoSet]) -> tuple[dict[str, Row], dict[str, str]]:
    """The rows that the data has everything for, and what it lacks for the others."""
    lacking = {name: VARIANTS[ROWS[name].variant].lacks(data, task.extra) for name in task.rows}
    left_out = {name: reason for name, reason in lacking.items() if reason is not None}
    rows = {name: ROWS[name] for name in task.rows if name not in left_out}
    if not rows:
        reasons = ", ".join(sorted(set(left_out.values())))
        raise ValueError(f"rows: the data lacks {reasons} for every row asked for")
    return rows, left_out


def _pretrained(task: Task, out: Path, progress: bool) -> Task:
    """The task with the pretrained backbone to start from."""
    if task.pretrain_data is None:
        return task
    folder = out / "pretrained"
    pretrain(open_classes(task.pretrain_data), task.pretraining, folder, progress=progress)
    config = dataclasses.replace(task.config, init=str(folder))
    return dataclasses.replace(task, config=config)


def _jobs(
    task: Task, rows: dict[str, Row], categories: tuple[str | None, ...], out: Path
) -> Iterator[Job]:
    """Seed by seed, so that a table of few seeds is there before one of many."""
    for seed in task.seeds:
        for name in dict.fromkeys(row.variant for row in rows.values()):
            groups = [categories] if VARIANTS[name].joint else [(one,) for one in categories]
            for group in groups:
                for number in range(task.folds) if task.folds else [None]:
                    which = "all" if number is None else f"fold{number + 1}of{task.folds}"
                    of = "+".join(category or "pairs" for category in group)
                    folder = out / "runs" / f"{name}-{of}" / f"{which}-seed{seed}"
                    yield Job(name, group, seed, number, folder)


def _train(
    job: Job,
    task: Task,
    training: dict[str | None, SketchPhotoSet],
    scored: dict[str | None, SketchPhotoSet],
    features: Path,
    progress: bool,
) -> tuple[Run, list[SketchPhotoSet], list[Images]]:
    """The run of a job, what to score it on, and sketches it learnt from, by category."""
    variant = VARIANTS[job.variant]
    learnt = [training[category] for category in job.categories]
    galleries = [scored[category] for category in job.categories]
    if job.fold is not None:
        parts = [fold(one, job.fold, task.folds) for one in learnt]
        learnt, galleries = [rest for rest, _ in parts], [held for _, held in parts]
    banks = [one.sketches for one in learnt]
    if variant.extra:
        learnt = with_extra(learnt, task.extra)
    config = override(task.config, {**variant.overrides, "seed": job.seed})
    triplets = None if variant.triplets is None else _listed(variant, learnt[0], job.seed)
    category = "+".join(c for c in job.categories if c is not None) or None
    run = train(
        align_attributes(learnt),
        config,
        job.folder,
        category=category,
        triplets=triplets,
        features=features,
        progress=progress,
    )
    return run, galleries, banks


def _listed(variant: Variant, data: SketchPhotoSet, seed: int) -> Any:
    if variant.triplets == "people":
        return human_triplets(data, votes="majority")
    make = random_triplets if variant.triplets == "random" else attribute_triplets
    return make(data, seed=seed)


def _score_once(
    members: Sequence[tuple[Job, Run]],
    gallery: SketchPhotoSet,
    bank: Images,
    scoring: EvalConfig,
    robust: bool,
    maps: FrozenMaps,
) -> dict[str, Any]:
    """Scores of runs that rank together, from the file in the last one's folder where they were
    made of the very same models."""
    folders = [job.folder for job, _ in members]
    path = folders[-1] / SCORES_NAME
    models = [file_digest(folder / FILE_NAME) for folder in folders]
    asked: dict[str, Any] = {"models": models, "data": gallery.name, "scoring": asdict(scoring)}
    if robust:
        asked["robustness"] = True
    known = json.loads(path.read_text()) if path.is_file() else []
    for entry in known:
        if entry["of"] == asked and "ranks" in entry["found"]:  # earlier versions noted none
            found: dict[str, Any] = entry["found"]
            return found
    names = gallery.attribute_names
    ranked = [(run.model, run.data.columns_of(names)) for _, run in members]
    # Backbones that learn are all different, so what one of them gives is of no use to another.
    alike = all(r.config.frozen_views and not r.config.trained_layers for _, r in members)
    shared = maps if alike else None
    ranking = rank_together(ranked, gallery, scoring, bank=bank, maps=shared)
    ranks = first_ranks(ranking.order, gallery.sketch_labels, gallery.photo_labels)
    most = min(CURVE, len(gallery.photos))
    logs = [(folder / LOG_NAME).read_text(encoding="utf-8").splitlines() for folder in folders]
    epochs = [[json.loads(line) for line in log] for log in logs]
    found = {
        "scores": score(ranking, gallery).to_dict(),
        "ranks": [int(rank) if np.isfinite(rank) else None for rank in ranks],
        "curve": [100 * float((ranks <= k).mean()) for k in range(1, most + 1)],
        "loss": np.mean([[epoch["loss"] for epoch in log] for log in epochs], axis=0).tolist(),
        "seconds": [
            sum(epoch["seconds"] + epoch.get("feature_seconds", 0) for epoch in log)
            for log in epochs
        ],
    }
    if robust:
        found["robustness"] = robustness_table(ranked, gallery, scoring, bank=bank, maps=shared)
    current = [entry for entry in known if entry["of"]["models"][-1] == models[-1]]
    kept = [entry for entry in current if entry["of"] != asked]
    write_json(path, [*kept, {"of": asked, "found": found}], indent=1)
    return found
