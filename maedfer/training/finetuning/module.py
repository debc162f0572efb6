"""Fine-tunes an encoder on labelled clips, as a LightningModule with the recipe of the upstream scripts.

Batches hold uint8 clips with the crop boxes, targets and seeds that the loader drew. Cropping, normalising,
erasing and mixing run on the device; all frames of a clip share one draw. Targets are rows of numbers for
every task: shares of classes, zeros and ones, or quantities.

Departures from upstream: layer decay counts the representative tokens to the stem (unless `region_tokens` is
`official`), warm-up is a share of the run, and views are averaged in the model, not from text files;
identical views are computed once.
"""

from collections.abc import Sequence
from typing import Any, Self, TypedDict

import torch
from einops import rearrange
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.views import prepare_clips
from maedfer.errors import UserError
from maedfer.lightning_internals import datamodule_of
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.pooling import PoolName
from maedfer.models.probe import LinearProbe
from maedfer.randomness import seed_of
from maedfer.tasks import TASKS, Task, TaskName, task_of
from maedfer.training.finetuning.mixing import Mixing, erase
from maedfer.training.finetuning.start import EncoderStart, starting_encoder
from maedfer.training.steps.compilation import call, compiled_call
from maedfer.training.steps.finite_steps import FiniteSteps
from maedfer.training.steps.optimizer import OptimizerName
from maedfer.training.steps.region_tokens import at_head_rate
from maedfer.training.steps.scheduled_module import ScheduledModule
from maedfer.upstream import Behaviour, mimics_upstream


class PredictedBatch(TypedDict):
    """Predictions for S samples, as returned by a validation or test step.

    Attributes:
        keys: keys of the samples.
        outputs, targets: (S, K), activated outputs averaged over views, and targets.
        valid: bool (S,); False marks the repeats that fill the last batch of a rank.
    """

    keys: list[str]
    outputs: Tensor
    targets: Tensor
    valid: Tensor


class FineTuning(ScheduledModule, FiniteSteps):
    """Trains a classifier or regressor of clips, with augmentation on the device, optimizer and schedule.

    Args:
        architecture: Registered name of the encoder; null takes that of `--init-from`.
        model_args: Arguments that override those of the name or of the weights.
        pool: Tokens that are pooled for the head: `region` (representative tokens, as published), `token`,
            `all`, or `attentive` (a learned query attends to all).
        freeze_encoder: train the head only, on standardised features: a linear probe, or with `attentive`
            pooling an attentive probe.
        drop_path_rate: Stochastic depth of the last block.
        drop_rate: Dropout before the head.
        init_scale: Factor on the initial weights of the head.
        label_smoothing: Share of a class target that is spread over all classes.
        class_weights: Weight classes (or positives, with several labels) by their rarity in training.
        mixup: Alpha of mixup, 0 for none; if cutmix is on too, each gets half of the batches.
        cutmix: Alpha of cutmix, 0 for none.
        erasing: Probability that a box of a clip is erased.
        optimizer: `adamw` as upstream, or `muon`, which takes the same rates.
        base_lr: Peak learning rate for a global batch of 256.
        min_lr: Final learning rate for a global batch of 256.
        warmup_share: Share of the run over which the learning rate rises from 0.
        weight_decay: Weight decay of matrices; biases, norms and the representative tokens have none.
        region_tokens: `correct` trains the representative tokens at the rate of the stem; `official` at the
            rate of the head, as upstream does.
        layer_decay: Factor on the learning rate from each block to the one before it; 1 is none.
        betas: Betas of AdamW.
        grad_checkpointing: Recompute activations in the backward pass, to save memory.
        compile: Run training steps through `torch.compile`; the first one takes a minute or more.

    Raises:
        UserError: a setting out of its range, or settings that exclude each other.
    """

    classifier: VideoEncoder | LinearProbe
    output_weights: Tensor
    img_size: int
    num_frames: int

    def __init__(
        self,
        architecture: str | None = None,
        model_args: dict[str, Any] | None = None,
        pool: PoolName | None = None,
        freeze_encoder: bool = False,
        drop_path_rate: float = 0.1,
        drop_rate: float = 0.0,
        init_scale: float = 0.001,
        label_smoothing: float = 0.1,
        class_weights: bool = False,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        erasing: float = 0.25,
        optimizer: OptimizerName = "adamw",
        base_lr: float = 1e-3,
        min_lr: float = 1e-6,
        warmup_share: float = 0.05,
        weight_decay: float = 0.05,
        region_tokens: Behaviour = "correct",
        layer_decay: float = 0.75,
        betas: tuple[float, float] = (0.9, 0.999),
        grad_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(base_lr, min_lr, warmup_share, optimizer, betas)
        if not 0 < layer_decay <= 1:
            raise UserError("layer_decay", f"{layer_decay} must be above 0 and at most 1")
        if not 0 <= label_smoothing < 1:
            raise UserError("label_smoothing", f"{label_smoothing} must be at least 0 and below 1")
        if not 0 <= erasing <= 1:
            raise UserError("erasing", f"{erasing} must be a probability between 0 and 1")
        if freeze_encoder and optimizer == "muon":
            raise UserError("optimizer", "muon trains blocks, but `freeze_encoder` freezes them: take adamw")
        self.architecture, self.model_args = architecture, dict(model_args or {})
        self.freeze_encoder, self._pool = freeze_encoder, pool
        self._shape = {"drop_path_rate": drop_path_rate, "drop_rate": drop_rate, "init_scale": init_scale}
        self._label_smoothing, self._weighted, self._erasing = label_smoothing, class_weights, erasing
        self._mixing = Mixing(mixup, cutmix)
        self._weight_decay, self._layer_decay = weight_decay, layer_decay
        self._official_tokens = mimics_upstream("region_tokens", region_tokens)
        self._checkpointing = grad_checkpointing
        self.compiles, self._call = compile, compiled_call() if compile else call
        self.task: Task = TASKS["classify"]
        self.outputs: tuple[str, ...] = ()

    def build(
        self, task: TaskName, outputs: Sequence[str], targets: Tensor, source: str | None
    ) -> EncoderStart:
        """Builds the model for a task.

        Args:
            task: name of the task.
            outputs: names of the K outputs.
            targets: training targets (n, K), for class weights and the initial bias.
            source: weights to start from; None for fresh ones.

        Returns:
            The encoder that the model starts from.

        Raises:
            FileNotFoundError: `source` does not exist.
            UserError: weights or arguments do not fit.
        """
        start = starting_encoder(self.architecture, {**self.model_args, **self._shape}, source)
        self.architecture, self.model_args = start.architecture, start.model_args
        self.task, self.outputs = task_of(task), tuple(outputs)
        start.encoder.set_grad_checkpointing(self._checkpointing)
        if self.freeze_encoder:
            model: VideoEncoder | LinearProbe = LinearProbe(start.encoder, len(outputs), self._pool)
        else:
            model = start.encoder
            model.reset_classifier(len(outputs), global_pool=self._pool)
            if isinstance(model, LGIFormer):
                model.freeze_unread()
        weights = self.task.class_weights(targets) if self._weighted else torch.ones(len(outputs))
        self._take(model, weights)
        bias = self.task.initial_bias(targets)
        if bias is not None:
            [module for module in model.modules() if isinstance(module, nn.Linear)][-1].bias.data.copy_(bias)
        return start

    @classmethod
    def of_classifier(cls, model: VideoEncoder, classes: Sequence[str] | None = None) -> Self:
        """Wraps a trained model for evaluation; task and outputs are those of its `config.json`.

        Args:
            model: the trained model.
            classes: names of the outputs, if there is no `config.json` (weights of upstream).

        Raises:
            UserError: the outputs have no names, or `classes` differ from those of the model.
        """
        config = model.config
        output = config.output if config else None
        names = output.names if output else classes
        if not names:
            raise UserError(
                "classes",
                f"missing: the model does not name its {model.num_classes} classes; name them in the order "
                "of its outputs",
            )
        if len(set(names)) != model.num_classes or list(classes or names) != list(names):
            own = "" if names is classes else f", {', '.join(names)}: leave out `classes`"
            raise UserError(
                "classes", f"{list(classes or names)}: the model has {model.num_classes} outputs{own}"
            )
        module = cls(config.architecture, dict(config.model_args)) if config else cls()
        module.task, module.outputs = task_of(output.task if output else "classify"), tuple(names)
        module._take(model, torch.ones(len(module.outputs)))
        return module

    def _take(self, model: VideoEncoder | LinearProbe, weights: Tensor) -> None:
        """Takes a model, and the weights (K,) of its outputs in the loss."""
        encoder = model if isinstance(model, VideoEncoder) else model.encoder
        self.classifier = model
        self.img_size, self.num_frames = encoder.img_size, encoder.num_frames
        self.register_buffer("output_weights", weights, persistent=False)

    def setup(self, stage: str) -> None:
        """Sets the length of clips in the data module to that of the encoder."""
        datamodule_of(self.trainer).fit_to_model(self.num_frames)

    def forward(self, clips: Tensor) -> Tensor:
        """Returns raw outputs (B, K) of normalised clips (B, 3, T, H, W)."""
        outputs: Tensor = self.classifier(clips)
        return outputs

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Tensor]:
        """Returns the loss of a batch and moves the data module's cursor past it."""
        assert batch.targets is not None
        clips = prepare_clips(batch.clips, batch.boxes, batch.flips, self.img_size)
        # Dropout and stochastic depth draw from torch's global generator, which checkpoints do not hold.
        torch.manual_seed(seed_of(batch.seeds[0], "drop") >> 65)
        clips = erase(clips, batch.seeds, self._erasing)
        clips, targets = self._mixing(clips, batch.targets, batch.seeds[0])
        loss = self.loss(self._call(self.classifier, clips), targets)
        self.watch(loss)
        datamodule_of(self.trainer).consumed(batch)
        self.log("train/loss", loss.detach(), batch_size=len(clips))
        self.log("train/lr", self.learning_rate(self.trainer.global_step))
        # Lightning divides `loss` by the number of micro-batches of a step; the records need the original.
        return {"loss": loss, "unscaled": loss.detach()}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of raw outputs (B, K) against targets (B, K), see `Task.loss`."""
        return self.task.loss(outputs.float(), targets, self.output_weights, self._label_smoothing)

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> PredictedBatch:
        """Predicts the samples of a batch, one clip each."""
        return self.predicted(batch, views=1)

    def test_step(self, batch: ClipBatch, batch_idx: int) -> PredictedBatch:
        """Predicts the samples of a batch, averaged over views."""
        return self.predicted(batch, datamodule_of(self.trainer).views)

    def predicted(self, batch: ClipBatch, views: int) -> PredictedBatch:
        """Returns activated outputs and targets (S, K) of the samples of a batch, averaged over views."""
        assert batch.targets is not None
        places, sources = distinct_views(batch.starts, views)
        unique = places if len(places) < len(sources) else slice(None)
        clips = prepare_clips(batch.clips[unique], batch.boxes[unique], batch.flips[unique], self.img_size)
        outputs = self.task.activate(self(clips).float())[sources]
        first = slice(None, None, views)
        return {
            "keys": batch.keys[first],
            "outputs": rearrange(outputs, "(s v) k -> s v k", v=views).mean(1),
            "targets": batch.targets[first],
            "valid": batch.valid[first],
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Returns the optimizer, with layer decay, and a schedule per step."""
        peak = self.start_schedule()
        return self.scheduled(self.classifier, self.parameter_groups(peak), peak)

    def parameter_groups(self, peak: float) -> list[dict[str, Any]]:
        """Returns parameter groups; timm's `lr_scale` is multiplied into the rate, as torch ignores it."""
        model = self.classifier
        groups = param_groups_layer_decay(
            model, self._weight_decay, model.no_weight_decay(), layer_decay=self._layer_decay
        )
        if self._official_tokens:
            at_head_rate(groups, model)
        return [{**group, "lr": peak * group.pop("lr_scale")} for group in groups]

    def exported(self) -> VideoEncoder:
        """Returns the trained model as an encoder with a head, into which a probe is folded."""
        return self.classifier if isinstance(self.classifier, VideoEncoder) else self.classifier.exported()


def distinct_views(starts: Sequence[float], views: int) -> tuple[list[int], list[int]]:
    """Finds the distinct clips of a batch, as the views of a short track are the same clip.

    Args:
        starts: start of each clip in its track; clips of one sample with the same start are the same.
        views: number of clips of each sample, which are adjacent.

    Returns:
        Positions of the distinct clips, and for every clip the number of its distinct clip.
    """
    numbers: dict[tuple[int, float], int] = {}
    sources = [
        numbers.setdefault((place // views, start), len(numbers)) for place, start in enumerate(starts)
    ]
    return [sources.index(number) for number in range(len(numbers))], sources
