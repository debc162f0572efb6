"""Makes batches of clips from shards, and keeps the position in them for checkpoints."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.clip_times import ClipSampler
from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_plan import EpochPlan, Reading, evaluation_reading
from maedfer.data.loading.loader import ClipLoader, correct_epoch_length
from maedfer.data.loading.position import check_position, position_from, position_state
from maedfer.data.loading.stream import ClipStream, in_this_order
from maedfer.data.loading.upstream_times import PretrainingSampler
from maedfer.data.loading.views import FULL_BOX, Crop, ViewSpec
from maedfer.data.loading.workers import worker_loader
from maedfer.data.shards.format import ShardIndex
from maedfer.data.shards.origin import is_synthetic
from maedfer.data.shards.reader import ShardReader, index_of
from maedfer.data.shards.remote import Fetcher
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError
from maedfer.processes.cores import workers_for
from maedfer.upstream import Behaviour, mimics_upstream

if TYPE_CHECKING:  # a worker that draws no masks starts without torch's models
    from maedfer.models.masking import MaskSpec

Chosen = tuple[str, np.ndarray | range]
"""A split and the numbers of some of its samples, int64 (n,), ascending, or of all of them."""

PassStart = tuple[DataLoader[Any], int]

BASELINE_CLIPS = 1024
"""Number of training clips that a baseline is measured on."""


class ClipDataModule(pl.LightningDataModule):
    """Makes batches of clips from a shard folder, for training and for evaluation.

    Args:
        shards: Folder with shards and `index.json`; an address, or a pattern with `{name}`, reads remote
            ones.
        split: Split to train on.
        val_split: Held-out split; where the shards lack it there is no evaluation.
        batch_size: Clips on each device per step.
        clips_per_sample: Clips drawn from each decoded sample; divides the batch size.
        crop: `resized` (random area and aspect), `multi_scale` (upstream's) or `none`.
        crop_scale: Range of the area of a resized crop, in shares of the frame.
        crop_aspect: Range of the width over the height of a resized crop.
        frame_crop: Part of the stored frames to use: left, top, width, height in shares; null uses all.
        flip: Probability of a mirrored clip.
        frame_interval_s: Seconds between the frames of a clip; null takes 0.16.
        sampling: Choice of the frames of a clip: `correct` keeps their interval at any stored rate;
            `official` takes whole steps of stored frames and fills short clips with copies, as upstream does.
        seed: Seed of order, views and masks.
        workers: Loader processes of each device; null takes all cores but one, 0 reads in the main process.
        shuffle_window: Undecoded samples that a worker holds to shuffle them.
        max_broken_share: Share of broken samples above which a run stops; three are always allowed unless it
            is 0.
        record_keys: Write `keys/rank<r>.txt` in the run folder: step, key and start of every clip trained on.
        start_method: How workers start; null takes the platform's default, and forkserver with several ranks.
        stall_timeout_s: Seconds without a byte after which a try to fetch a remote shard ends.
        fetch_tries: Tries to fetch a remote shard before the run stops.
    """

    upstream_sampler: type[ClipSampler] = PretrainingSampler

    def __init__(
        self,
        shards: str,
        split: str = "train",
        val_split: str = "val",
        batch_size: int = 32,
        clips_per_sample: int = 1,
        crop: Crop = "multi_scale",
        crop_scale: tuple[float, float] = (0.5, 1.0),
        crop_aspect: tuple[float, float] = (0.75, 1.3333),
        frame_crop: tuple[float, float, float, float] | None = None,
        flip: float = 0.0,
        frame_interval_s: float | None = None,
        sampling: Behaviour = "correct",
        seed: int = 0,
        workers: int | None = None,
        shuffle_window: int = 256,
        max_broken_share: float = 0.01,
        record_keys: bool = False,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
        stall_timeout_s: float = 30.0,
        fetch_tries: int = 6,
    ) -> None:
        super().__init__()
        if batch_size < 1 or clips_per_sample < 1 or batch_size % clips_per_sample:
            raise UserError(
                "batch_size", f"{batch_size} must be a multiple of `clips_per_sample={clips_per_sample}`"
            )
        for name, value, least in (("shuffle_window", shuffle_window, 1), ("workers", workers, 0)):
            if value is not None and value < least:
                raise UserError(name, f"{value} must be {least} or more")
        if frame_interval_s is not None and frame_interval_s <= 0:
            raise UserError("frame_interval_s", f"{frame_interval_s} must be positive")
        self.frame_crop = frame_crop
        frame = FULL_BOX if frame_crop is None else frame_crop
        self._views = ViewSpec(crop, crop_scale, crop_aspect, flip, frame)
        self.shards, self.split, self.val_split = shards, split, val_split
        self.batch_size, self.clips_per_sample, self.num_frames = batch_size, clips_per_sample, NUM_FRAMES
        self.frame_interval_s, self.sampling = frame_interval_s, sampling
        self._sampler = self.upstream_sampler if mimics_upstream("sampling", sampling) else ClipSampler
        self.seed, self.workers, self.shuffle_window = seed, workers, shuffle_window
        self.max_broken_share, self.record_keys = max_broken_share, record_keys
        self.start_method, self.fetcher = start_method, Fetcher(stall_timeout_s, fetch_tries)
        self.cursor = Cursor()
        self._masks: MaskSpec | None = None
        self._ranks = (0, 1)

    @cached_property
    def index(self) -> ShardIndex:
        """The index of the shards, read once."""
        return index_of(self.shards, self.fetcher)

    @property
    def is_synthetic(self) -> bool:
        """True if the shards hold drawn faces, which all results must state."""
        return is_synthetic(self.index.made_by)

    @cached_property
    def plan(self) -> EpochPlan:
        """The plan of the training split."""
        return EpochPlan(self._table(self.split), self.seed)

    @property
    def has_held_out(self) -> bool:
        """True if there are held-out samples."""
        return self._held_out is not None

    @property
    def _held_out(self) -> Chosen | None:
        """The held-out split and its samples; None where the shards have no such split."""
        table = self._tables.get(self.val_split)
        return None if table is None else (self.val_split, range(table.samples))

    @property
    def ranks(self) -> tuple[int, int]:
        """The rank of this process and the number of ranks: the trainer's, or those of `set_ranks`."""
        return self._ranks if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def set_ranks(self, rank: int, world: int) -> None:
        """Sets the rank of this process and the number of ranks, where there is no trainer."""
        self._ranks = (rank, world)

    @property
    def interval_s(self) -> float:
        """Seconds between the frames of a clip, where the setting leaves it open too."""
        return FRAME_INTERVAL_S if self.frame_interval_s is None else self.frame_interval_s

    def fit_to_model(self, num_frames: int, masks: "MaskSpec | None" = None) -> None:
        """Sets the frames of a clip and the masks to draw; called in the `setup` of a LightningModule."""
        self.num_frames, self._masks = num_frames, masks

    def settle_workers(self, devices: int) -> None:
        """Chooses the number of workers of each device of this machine, where it was left open."""
        if self.workers is None:
            self.workers = workers_for(devices)

    def setup(self, stage: str) -> None:
        """Sets the number of workers, which the plan needs to be the same on all ranks."""
        self.settle_workers(1 if self.trainer is None else self.trainer.num_devices)
        if self.trainer is not None and self.trainer.world_size > 1:
            # Machines may have different numbers of cores.
            self.workers = self.trainer.strategy.broadcast(self.workers)

    def train_dataloader(self) -> ClipLoader:
        """Returns the training batches from the cursor on.

        Raises:
            UserError: the split is missing, or smaller than one batch on every rank.
        """
        leg = self._leg(self.clips_per_sample, self.shuffle_window)
        self.cursor = self.plan.enter(self.cursor, leg)
        return self._loader(lambda: self.plan.batches(self.cursor), self._start_pass, leg.batch)

    def _start_pass(self) -> PassStart:
        """Starts workers at the cursor, which enters the next epoch if its own is done."""
        if self.cursor.done == self.plan.batches(self.cursor):
            self.cursor = self.plan.next_epoch(self.cursor)
        if self.trainer is not None and self.trainer.training:
            correct_epoch_length(self.trainer, self.plan.batches(self.cursor) - self.cursor.done)
        deal = partial(self.plan.reading, self.cursor, self.ranks[0])
        stream = self._stream(self.split, deal, self.clips_per_sample, training=True)
        return worker_loader(stream, self.workers or 0, self.start_method), self.cursor.done

    def on_before_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Finds a training step that forgot `consumed`: Lightning calls this before the next batch."""
        if self.trainer is not None and self.trainer.training:
            check_position(self.cursor, batch)
        return batch

    def consumed(self, batch: ClipBatch) -> None:
        """Moves the position past a batch; called in each training step, on every rank."""
        check_position(self.cursor, batch)
        self.cursor = self.plan.advance(self.cursor)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position, and the samples it is a position in."""
        return position_state(self.plan, self.cursor)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the position of a checkpoint, as `position_from`; an evaluation has none."""
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            self.cursor = position_from(state_dict, self.plan, self.shards)

    def val_dataloader(self) -> ClipLoader | list[ClipLoader]:
        """Returns one centred clip of every held-out sample, always with the same mask.

        `valid` is False for repeats. Without held-out samples the list is empty, and Lightning does not
        evaluate.
        """
        return [] if self._held_out is None else self._evaluation_loader(self._held_out, 1)

    def _evaluation_loader(self, chosen: Chosen, clips_per_sample: int) -> ClipLoader:
        """Returns evenly spread clips of each of some samples, the same in every pass."""
        (split, numbers), leg = chosen, self._leg(clips_per_sample, window=1)
        deal = partial(evaluation_reading, numbers, self._table(split).samples, leg, self.ranks[0])

        def start() -> PassStart:
            stream = self._stream(split, deal, clips_per_sample)
            return worker_loader(stream, self.workers or 0, self.start_method), 0

        return self._loader(lambda: -(-len(numbers) // leg.step), start, leg.batch)

    def baseline_dataloader(self) -> ClipLoader:
        """Returns up to 1,024 training clips without augmentation or repeats, the same on every rank."""
        visits = self.plan.spread(BASELINE_CLIPS)
        batch = min(self.batch_size, len(visits))
        batches = visits[: len(visits) // batch * batch].reshape(-1, batch)
        loader = worker_loader(self._stream(self.split, partial(in_this_order, batches)), 0, None)
        return self._loader(lambda: len(batches), lambda: (loader, 0), batch)

    def picture_batch(self, clips: int) -> ClipBatch:
        """Returns up to `clips` held-out clips, always the same; training clips without a held-out split."""
        split, numbers = self._held_out or (self.split, self.plan.chosen)
        return self.plain_clips(split, EpochPlan(self._table(split), self.seed, numbers).spread(clips))

    def plain_clips(self, split: str, numbers: np.ndarray) -> ClipBatch:
        """Returns one batch with the centred clips of samples (n,) of a split, in their order, as stored."""
        deal = partial(in_this_order, numbers[None])
        return next(self._stream(split, deal).batches(deal(0)))

    def total_batches(self, epochs: int) -> int:
        """Returns the batches of each rank in whole epochs, with the present ranks and batch size."""
        return epochs * self.plan.samples // self._leg(self.clips_per_sample, self.shuffle_window).step

    @cached_property
    def _tables(self) -> dict[str, ShardTable]:
        """The shards of each split that has samples, built once: workers would get every copy."""
        tables = {split: ShardTable.of(self.index.of_split(split)) for split in self.index.splits}
        return {split: table for split, table in tables.items() if table.samples}

    def _table(self, split: str) -> ShardTable:
        if split not in self._tables:
            names = ", ".join(self.index.splits) or "none"
            raise UserError("shards", f"{self.shards} has no samples of split {split!r} (splits: {names})")
        return self._tables[split]

    def _leg(self, clips_per_sample: int, window: int) -> Leg:
        if self.workers is None:
            self.setup("fit")
        samples = max(1, self.batch_size // clips_per_sample)
        return Leg(self.ranks[1], self.workers or 0, samples, window)

    def _loader(self, length: Callable[[], int], start: Callable[[], PassStart], samples: int) -> ClipLoader:
        return ClipLoader(length, start, samples, self.batch_size, self.max_broken_share)

    def _maker(self, clips_per_sample: int, training: bool) -> ClipMaker:
        return ClipMaker(
            seed=self.seed,
            clips_per_sample=clips_per_sample,
            num_frames=self.num_frames,
            views=self._views if training else ViewSpec(frame_crop=self._views.frame_crop),
            masks=self._masks,
            training=training,
            interval_s=self.interval_s,
            sampler=self._sampler,
        )

    def _stream(
        self, split: str, deal: Callable[[int], Reading], clips_per_sample: int = 1, training: bool = False
    ) -> ClipStream:
        reader = ShardReader(self.shards, self._table(split), self.fetcher)
        epoch = self.cursor.epoch if training else 0
        return ClipStream(reader, deal, self._maker(clips_per_sample, training), epoch)
