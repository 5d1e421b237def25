"""Training of a retrieval model: data, augmentation, model, loss, checkpoint.

From the command line: ``fgsbir train --data DIR --category shoes --out runs/shoes``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from tqdm import tqdm

from ..config import EvalConfig, TrainConfig
from ..data.align import align_attributes, annotated_names
from ..data.dataset import SketchPhotoSet
from ..data.edge_variants import with_edge_variants
from ..data.splits import hold_out
from ..evaluation.metrics import evaluate
from ..models.checkpoint import (
    FILE_NAME,
    DataFacts,
    Run,
    create_model,
    init_backbone,
    load_run,
    save_run,
)
from ..models.retrieval import Output, RetrievalModel
from .batches import ImagesOf, JointBatches, PairBatches
from .device import choose_device, image_format, takes_bfloat16
from .distributed import average_buffers, data_parallel, is_main, own_device, own_generator
from .fingerprint import content_digest
from .frozen_features import FOLDER, FrozenFeatures, FrozenLayers, prepare_features
from .listed_triplets import ListedObjective, TripletBatches
from .losses import Objective
from .optim import Stepper
from .resumable import run_to_the_end
from .training_images import AugmentedImages, SplitImages, TrainingImages
from .training_state import TrainingState


class Batches(Protocol):
    """What an epoch is drawn from; a batch has ``images``, and ``to`` moves it to a device."""

    digest: str

    @property
    def images(self) -> Sequence[TrainingImages]: ...

    def __len__(self) -> int: ...

    def draw(self, own: Generator) -> Iterator[Any]: ...


def train(
    data: SketchPhotoSet | Sequence[SketchPhotoSet],
    config: TrainConfig,
    out: str | Path,
    *,
    category: str | None = None,
    triplets: NDArray[np.int64] | None = None,
    features: str | Path | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
) -> Run:
    """Trains a model on a split and leaves its checkpoint and its log in a folder.

    A run that was killed resumes after its last whole epoch when it is started again with the same
    data and settings; one that is finished is given back as it is.

    Args:
        data: the training split; of several, each batch is of one of them alone, and the model
            predicts the attributes of all.
        config: everything else.
        out: the run's folder, made if need be.
        category: noted in the checkpoint, for ``fgsbir evaluate`` to open the same one.
        triplets: (T, 3) rows (sketch, positive, negative) to train on instead of triplets mined in
            the batch, indices into the data; see :mod:`fgsbir.data.triplet_lists`.
        features: folder of what frozen layers give, made if need be, which runs may share; None for
            one in the run's folder.
        overwrite: start anew, and replace what a run with whatever settings left in the folder.
        tensorboard: also write the figures of the log for TensorBoard.
        progress: whether to show a progress bar and one line of figures per epoch, on stderr.

    Raises:
        ValueError: for a configuration that does not fit the data, a run with other data or
            settings in the folder, or another process that writes there.
        FloatingPointError: when the loss stops being finite.
    """
    config.check()
    device = own_device(choose_device(config.device))
    sets = align_attributes([data] if isinstance(data, SketchPhotoSet) else data)
    if config.loss.attribute_guidance and not annotated_names(sets[0]):
        raise ValueError("attribute_guidance: expected 0 for data without attributes")
    torch.manual_seed(config.seed)  # weights and dropout
    generator = Generator().manual_seed(config.seed)  # batches and augmentation
    name = " + ".join(one.name for one in sets)
    facts = DataFacts(name, category, annotated_names(sets[0]))
    model = create_model(config, facts)
    init = None if config.init is None else init_backbone(model, config.model, config.init)
    model.to(device).to(memory_format=image_format(device))  # type: ignore[call-overload]
    held = []
    if config.holdout:
        held = [hold_out(one, config.holdout, config.seed)[1] for one in sets]
    after = model.layers_below(config.trained_layers) if config.frozen_views else 0
    folder = Path(out) / FOLDER if features is None else Path(features)
    images_of = _images_of(model, after, config, folder, progress)
    batches = _batches(sets, config, triplets, model, images_of, generator)
    facts = replace(facts, digest=content_digest(batches.digest, init))
    objective = Objective(config.loss) if triplets is None else ListedObjective(config.loss)
    stepper = Stepper(model, config.optim, len(batches))
    averaged = stepper.averaged
    result = model if averaged is None else cast(RetrievalModel, averaged.module)
    task = {"config": config.to_dict(), "data": asdict(facts)}
    state = TrainingState(model, stepper, generator, task)
    network = data_parallel(model, device)
    reduced = takes_bfloat16(config.precision, device)

    def one_epoch() -> dict[str, Any]:
        lr, epoch = stepper.lr, state.epoch + 1
        start = prepared = time.perf_counter()
        if after:
            prepare_features(model, after, batches.images, start=epoch == 1)
            prepared = time.perf_counter()
        own = own_generator(generator, config.seed, epoch)
        shown = progress and is_main()
        drawn = batches.draw(own)
        model.train()
        if after:
            model.trunk.eval()  # batch normalisation goes by the statistics of pretraining
        sums: dict[str, float] = defaultdict(float)
        for batch in tqdm(drawn, f"epoch {epoch}", len(batches), leave=False, disable=not shown):
            batch = batch.to(device)
            outputs = embed_together(network, batch.images, reduced, after)
            loss, figures = objective(*outputs, batch)
            stepper.step(loss)
            for figure, value in figures.items():
                sums[figure] += value / len(batches)
        if not after:  # else no statistics have changed
            for module in (model, result):
                average_buffers(module)
        record: dict[str, Any] = {**sums, "lr": lr, "seconds": time.perf_counter() - prepared}
        if epoch == 1 and after:
            record["feature_seconds"] = prepared - start
        due = epoch % config.eval_every == 0 or epoch == config.optim.epochs
        if held and due and is_main():
            record["held_out"] = _score(result, held, config)
        return record

    out = Path(out)
    trained = run_to_the_end(
        state,
        config.optim.epochs,
        one_epoch,
        lambda epoch: save_run(out, Run(result, config, facts, epoch)),
        out / FILE_NAME,
        save_every=config.eval_every,
        overwrite=overwrite,
        tensorboard=tensorboard,
        progress=progress,
    )
    if not trained:
        return load_run(out, str(device))
    return Run(result.eval(), config, facts, config.optim.epochs)


def embed_together(
    network: nn.Module, images: Sequence[Tensor], reduced: bool, after: int = 0
) -> list[Output]:
    """Sketches and photos in one call, so that batch normalisation sees them alike.

    Args:
        network: a :class:`RetrievalModel`, maybe in a wrapper.
        images: (B, channels, size, size) each, or what frozen layers gave for them.
        reduced: whether convolutions are in bfloat16.
        after: how many layers of the trunk the images have been through.
    """
    together = torch.cat(list(images))
    together = together.contiguous(memory_format=image_format(together.device))
    with torch.autocast(together.device.type, torch.bfloat16, enabled=reduced):
        embedding, logits = network(together, after)
    sizes = [len(part) for part in images]
    embeddings = embedding.split(sizes)
    if logits is None:
        return [Output(part, None) for part in embeddings]
    return [Output(*parts) for parts in zip(embeddings, logits.split(sizes), strict=True)]


def _images_of(
    model: RetrievalModel, after: int, config: TrainConfig, folder: Path, progress: bool
) -> ImagesOf:
    """How batches see the images of a split: anew each time, or through frozen layers."""
    layers = FrozenLayers(model, after) if after else None

    def images_of(data: SketchPhotoSet) -> TrainingImages:
        images = SplitImages(data, model.preprocessing)
        if layers is None:
            return AugmentedImages(images, config.augment)
        return FrozenFeatures(
            images, config.augment, layers, config.frozen_views, folder, progress=progress
        )

    return images_of


def _batches(
    sets: Sequence[SketchPhotoSet],
    config: TrainConfig,
    triplets: NDArray[np.int64] | None,
    model: RetrievalModel,
    images_of: ImagesOf,
    generator: Generator,
) -> Batches:
    """Batches of what is not held out, as the model takes them.

    Raises:
        ValueError: for settings that do not fit the data or each other.
    """
    if triplets is not None:
        if len(sets) > 1:
            raise ValueError("triplets: expected one category, since a list is of one")
        if config.sampler != "random":
            raise ValueError(f"sampler: expected random with listed triplets, got {config.sampler}")
        sets = [replace(sets[0], triplets=triplets)]
    rest = list(sets)
    if config.holdout:
        rest = [hold_out(one, config.holdout, config.seed)[0] for one in sets]
    if config.edge_variants and model.preprocessing.photos != "edges":
        raise ValueError(
            f"edge_variants: expected False with {config.model.backbone}, which sees photos in "
            f"{model.preprocessing.photos}"
        )
    varied = [with_edge_variants(one) for one in rest] if config.edge_variants else rest
    settings = (images_of, config.optim.batch_size, generator)
    if triplets is not None:
        copies = len(varied[0].photos) // len(rest[0].photos)
        return TripletBatches(varied[0], *settings, copies)
    parts = [PairBatches(one, *settings, config.sampler) for one in varied]
    return parts[0] if len(parts) == 1 else JointBatches(parts, generator)


def _score(
    model: RetrievalModel, held: Sequence[SketchPhotoSet], config: TrainConfig
) -> dict[str, Any]:
    """Scores on what is held out; by its name where there are several categories."""
    # By the embedding alone: what attributes add at test time is chosen apart from these settings.
    ranked = EvalConfig(metric=config.loss.metric, attribute_weight=0.0)
    scores = {one.name: evaluate(model, one, ranked).to_dict() for one in held}
    return scores if len(held) > 1 else scores[held[0].name]
