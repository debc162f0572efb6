"""Fine-tuning of an encoder on labelled clips as a LightningModule (recipe: facts of the upstream scripts).

A batch comes as uint8 clips with the views, targets and seeds that the stream drew for them. Cropping,
normalising, erasing and mixing happen on the device, before the encoder; one draw serves all frames of a
clip.
Targets are rows of numbers for every task: a distribution over classes, zeros and ones, or quantities.
Departures from upstream: layer decay takes the representative tokens for a part of the stem (unless
`region_tokens` is official), warm-up is a share of the run, and views are averaged where the model runs, not
from text files; views that are the same clip are computed once.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.views import prepare_clips
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.pooling import PoolName
from maedfer.models.probe import LinearProbe
from maedfer.randomness import seed_of
from maedfer.tasks import Task
from maedfer.training.finetuning.mixing import Mixing, erase
from maedfer.training.finetuning.start import Start, starting_encoder
from maedfer.training.steps.compilation import call, compiled_call
from maedfer.training.steps.finite_steps import FiniteSteps
from maedfer.training.steps.optimizer import OptimizerName
from maedfer.training.steps.region_tokens import at_head_rate
from maedfer.training.steps.scheduled_module import ScheduledModule
from maedfer.upstream import Behaviour, mimics_upstream


class FineTuning(ScheduledModule, FiniteSteps):
    """A classifier (or regressor) of clips, its augmentation on the device, its optimizer and schedule.

    Args:
        architecture: registered name of the encoder; null takes that of `--init-from`.
        model_args: arguments that override those of the name or of the weights.
        pool: what is pooled for the head: `region` (representative tokens, as published), `token`, `all`, or
            `attentive` (a learned query attends to all).
        freeze_encoder: train the head only, on standardised features: a linear probe, or with `attentive`
            pooling an attentive one.
        drop_path_rate: stochastic depth of the last block.
        drop_rate: dropout before the head.
        init_scale: factor on the initial weights of the head.
        label_smoothing: share of a class target that is spread over all classes.
        class_weights: weigh classes (or positives, with several labels) by their rarity in training.
        mixup: alpha of mixup, 0 for none; with cutmix each takes half of the batches.
        cutmix: alpha of cutmix, 0 for none.
        erasing: probability that a box of a clip is erased.
        optimizer: `adamw` is upstream's; `muon` takes the same rates.
        base_lr: peak learning rate for a global batch of 256.
        min_lr: final learning rate for a global batch of 256.
        warmup_share: share of the run over which the learning rate rises from 0.
        weight_decay: of matrices; biases, norms and the representative tokens are not decayed.
        region_tokens: `correct`, or `official` to train the representative tokens at the rate of the head,
            as upstream does, and not of the stem.
        layer_decay: factor on the learning rate from each block to the one before it; 1 is none.
        betas: AdamW's.
        grad_checkpointing: recompute activations in the backward pass, to save memory.
        compile: run training steps through `torch.compile`; the first takes a minute or more.
    """

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
        _check(layer_decay, label_smoothing)
        if freeze_encoder and optimizer == "muon":
            raise ValueError(
                "--model.optimizer muon trains the blocks, which --freeze-encoder keeps: take adamw"
            )
        self.architecture, self.model_args = architecture, dict(model_args or {})
        self.freeze_encoder, self._pool = freeze_encoder, pool
        self._shape = {"drop_path_rate": drop_path_rate, "drop_rate": drop_rate, "init_scale": init_scale}
        self._label_smoothing, self._weighted, self._erasing = label_smoothing, class_weights, erasing
        self._mixing = Mixing(mixup, cutmix)
        self._weight_decay, self._layer_decay = weight_decay, layer_decay
        self._official_tokens = mimics_upstream("region_tokens", region_tokens)
        self._checkpointing = grad_checkpointing
        self.compiles, self._call = compile, compiled_call() if compile else call
        self.task: Task = "classify"
        self.outputs: tuple[str, ...] = ()

    def build(self, task: Task, outputs: Sequence[str], targets: Tensor, source: str | None) -> Start:
        """Make the model, once the labels are known.

        Args:
            task: what the outputs are.
            outputs: names of the K outputs.
            targets: training targets (n, K), for class weights and the first guess of quantities.
            source: weights to start from, None for fresh ones.

        Returns:
            What the model starts from.

        Raises:
            FileNotFoundError: nothing at `source`.
            ValueError: weights or arguments that do not fit.
        """
        start = starting_encoder(self.architecture, {**self.model_args, **self._shape}, source)
        self.architecture, self.model_args = start.architecture, start.model_args
        self.task, self.outputs = task, tuple(outputs)
        start.encoder.set_grad_checkpointing(self._checkpointing)
        if self.freeze_encoder:
            model: VideoEncoder | LinearProbe = LinearProbe(start.encoder, len(outputs), self._pool)
        else:
            model = start.encoder
            model.reset_classifier(len(outputs), global_pool=self._pool)
            if isinstance(model, LGIFormer):
                model.freeze_unread()
        self._take(model, _weights(task, targets) if self._weighted else torch.ones(len(outputs)))
        if task == "regress":
            _last_linear(model).bias.data.copy_(targets.mean(0))
        return start

    @classmethod
    def of_classifier(cls, model: VideoEncoder, classes: Sequence[str] | None = None) -> Self:
        """A module around a trained model, to evaluate it; its `config.json` says the task and the outputs.

        Args:
            model: the trained model.
            classes: names of the outputs, where no `config.json` names them (upstream's weights).

        Raises:
            ValueError: nothing names the outputs, or `classes` are not those of the model.
        """
        config = model.config
        output = config.output if config else None
        names = output.names if output else classes
        if not names:
            raise ValueError(
                f"the model does not name its {model.num_classes} classes: name them in the order of its "
                "outputs with --classes"
            )
        if len(set(names)) != model.num_classes or list(classes or names) != list(names):
            raise ValueError(
                f"--classes {list(classes or names)}: the model has {model.num_classes} outputs"
                + (f", {', '.join(names)}: leave out --classes" if names is not classes else "")
            )
        module = cls(config.architecture, dict(config.model_args)) if config else cls()
        module.task, module.outputs = output.task if output else "classify", tuple(names)
        module._take(model, torch.ones(len(module.outputs)))
        return module

    def _take(self, model: VideoEncoder | LinearProbe, weights: Tensor) -> None:
        """Hold a model, and what its outputs weigh in the loss."""
        encoder = model if isinstance(model, VideoEncoder) else model.encoder
        self.classifier = model
        self.img_size, self.num_frames = encoder.img_size, encoder.num_frames
        self.register_buffer("output_weights", weights, persistent=False)

    def setup(self, stage: str) -> None:
        """Ask the stream for clips of the encoder's length."""
        self.trainer.datamodule.num_frames = self.num_frames

    def forward(self, clips: Tensor) -> Tensor:
        """Outputs (B, K) before any activation, of normalised clips (B, 3, T, H, W)."""
        return self.classifier(clips)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Tensor]:
        """Loss of a batch; the data module moves its cursor past it."""
        clips = prepare_clips(batch.clips, batch.boxes, batch.flips, self.img_size)
        # Dropout and stochastic depth draw from torch's own stream, of which a checkpoint knows nothing.
        torch.manual_seed(seed_of(batch.seeds[0], "drop") >> 65)
        clips = erase(clips, batch.seeds, self._erasing)
        clips, targets = self._mixing(clips, batch.targets, batch.seeds[0])
        loss = self.loss(self._call(self.classifier, clips), targets)
        self.watch(loss)
        self.trainer.datamodule.consumed(batch)
        self.log("train/loss", loss.detach(), batch_size=len(clips))
        self.log("train/lr", self.learning_rate(self.trainer.global_step))
        # Lightning divides `loss` by the number of micro-batches of a step; the records want it as it is.
        return {"loss": loss, "unscaled": loss.detach()}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, binary cross-entropy or squared error of outputs (B, K) against targets (B, K)."""
        outputs = outputs.float()
        if self.task == "classify":
            smoothing = self._label_smoothing
            return F.cross_entropy(outputs, targets, self.output_weights, label_smoothing=smoothing)
        if self.task == "multilabel":
            return F.binary_cross_entropy_with_logits(outputs, targets, pos_weight=self.output_weights)
        return F.mse_loss(outputs, targets)

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        """What is predicted for the one clip of every sample of a batch."""
        return self.predicted(batch, views=1)

    def test_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        """What is predicted for every sample of a batch, its views averaged."""
        return self.predicted(batch, self.trainer.datamodule.views)

    def predicted(self, batch: ClipBatch, views: int) -> dict[str, Any]:
        """Activated outputs and targets (S, K) of the samples of a batch, averaged over adjacent views."""
        places, sources = distinct_views(batch.starts, views)
        parts = [batch.clips, batch.boxes, batch.flips]
        if len(places) < len(sources):
            parts = [part[places] for part in parts]
        outputs = self.activate(self(prepare_clips(*parts, self.img_size)).float())[sources]
        first = slice(None, None, views)
        return {
            "keys": batch.keys[first],
            "outputs": rearrange(outputs, "(s v) k -> s v k", v=views).mean(1),
            "targets": batch.targets[first],
            "valid": batch.valid[first],
        }

    def activate(self, outputs: Tensor) -> Tensor:
        """Probabilities of classes, of every label, or the quantities themselves."""
        activations = {"classify": lambda x: x.softmax(-1), "multilabel": torch.sigmoid}
        return activations.get(self.task, lambda x: x)(outputs)

    def configure_optimizers(self) -> dict[str, Any]:
        """One optimizer, its learning rate decaying from block to block, one schedule per step."""
        peak = self.start_schedule()
        return self.scheduled(self.classifier, self.parameter_groups(peak), peak)

    def parameter_groups(self, peak: float) -> list[dict[str, Any]]:
        """Parameter groups; torch knows no `lr_scale`, so it is folded into each group's rate."""
        model = self.classifier
        groups = param_groups_layer_decay(
            model, self._weight_decay, model.no_weight_decay(), layer_decay=self._layer_decay
        )
        if self._official_tokens:
            at_head_rate(groups, model)
        return [{**group, "lr": peak * group.pop("lr_scale")} for group in groups]

    def exported(self) -> VideoEncoder:
        """The trained model as an encoder with a head, a probe folded into one."""
        return self.classifier if isinstance(self.classifier, VideoEncoder) else self.classifier.exported()


def distinct_views(starts: Sequence[float], views: int) -> tuple[list[int], list[int]]:
    """Which clips of a batch to compute, so that those of a short track are not computed several times.

    Args:
        starts: where each clip starts in its track; clips that evaluate a sample are told apart by it.
        views: clips of each sample, next to each other.

    Returns:
        Places of the clips that differ, and for every clip which of those it is.
    """
    numbers: dict[tuple[int, float], int] = {}
    sources = [
        numbers.setdefault((place // views, start), len(numbers)) for place, start in enumerate(starts)
    ]
    return [sources.index(number) for number in range(len(numbers))], sources


def _weights(task: Task, targets: Tensor) -> Tensor:
    """Weights (K,): n / (K n_k) for classes (scikit-learn's `balanced`), negatives / positives for labels."""
    counts, samples = targets.sum(0).clamp(min=1), len(targets)
    return samples / (targets.shape[1] * counts) if task == "classify" else (samples - counts) / counts


def _last_linear(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def _check(layer_decay: float, label_smoothing: float) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        ValueError: names the flags.
    """
    if not 0 < layer_decay <= 1 or not 0 <= label_smoothing < 1:
        raise ValueError(
            f"--model.layer_decay {layer_decay} must be above 0 and at most 1, --model.label_smoothing "
            f"{label_smoothing} at least 0 and below 1"
        )
