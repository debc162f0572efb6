"""Runs on remote shards see and come to what runs on local ones do."""

import itertools

import pytest
import torch
from helpers.loopback import Loopback
from helpers.stream_shards import write_stream_shards

from maedfer.__main__ import main
from maedfer.data.labels.targets import read_records
from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.data.shards.format import read_index
from maedfer.data.shards.reader import index_of
from maedfer.data.shards.remote import Fetcher
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("temporary")]

SHARDS = [f"train-{number:06d}.tar" for number in range(4)]
SETTINGS = {"batch_size": 4, "crop": "resized", "flip": 0.5, "shuffle_window": 5, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stream_shards(tmp_path_factory.mktemp("remote"))


def clips_of(shards, **settings):
    data = ClipDataModule(shards, **(SETTINGS | settings))
    batches = []
    for batch in data.train_dataloader():
        batches.append((batch.keys, batch.starts, batch.boxes, batch.clips))
        data.consumed(batch)
    return batches


def test_a_streamed_run_sees_the_clips_of_a_local_one(folder):
    """Through real workers, with every kind of trouble on the way."""
    here = clips_of(str(folder), workers=2)
    with Loopback(folder) as server:
        troubles = (["drop", "lie"], ["stall", "500"], ["corrupt"], ["mute", "drop", "no range"])
        for name, faults in zip(SHARDS, troubles, strict=True):
            server.fail(name, faults)
        server.fail("index.json", ["drop", "stall", "503"])
        there = clips_of(server.address, workers=2, stall_timeout_s=1.0)
        assert len(server.starts("index.json")) > 3 and min(map(len, map(server.starts, SHARDS))) > 1
    assert len(here) == len(there) == 6
    for one, other in zip(here, there, strict=True):
        assert one[:2] == other[:2]
        assert all(map(torch.equal, one[2:], other[2:]))


def test_labels_and_the_index_come_from_afar_too(folder):
    index, table = read_index(folder), ShardTable.of(read_index(folder).of_split("train"))
    with Loopback(folder) as server:
        server.fail(SHARDS[1], ["corrupt", "drop"])
        assert index_of(server.address, Fetcher()) == index
        assert read_records(server.address, table, Fetcher()) == read_records(str(folder), table, Fetcher())
        server.fail("index.json", ["404"])
        with pytest.raises(FileNotFoundError, match=r"index.json cannot be fetched: http"):
            index_of(server.address, Fetcher())
        server.fail("index.json", ["short"])
        with pytest.raises(UserError, match=f"{server.address}: its index.json is not a shard index"):
            index_of(server.address, Fetcher())


def pretrain(shards, run, *more):
    """A tiny pre-training run from the command line; its exit code."""
    model = '{"img_size": 32, "region_size": [2, 2, 4], "embed_dim": 24, "depth": 1, "num_heads": 2}'
    words = ["pretrain", "--config", "pretrain/demo", "--run", str(run), "--data.shards", str(shards)]
    words += ["--model.model_args", model, "--data.workers", "1", "--data.batch_size", "4"]
    words += ["--model.decoder_dim", "16", "--model.decoder_depth", "1", "--model.decoder_num_heads", "2"]
    return main([*words, "--trainer.max_steps", "4", "--data.record_keys", "true", *more])


def test_a_streamed_run_ends_as_a_local_one(synthetic_shards, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert pretrain(synthetic_shards, here) == 0
    with Loopback(synthetic_shards) as server:
        server.fail(SHARDS[0], ["drop", "corrupt"])
        assert pretrain(server.address, there) == 0
    for name in ("keys/rank0.txt", "metrics.csv"):
        assert (here / name).read_bytes() == (there / name).read_bytes()


def test_a_run_without_its_shards_stops_in_one_line(synthetic_shards, tmp_path, capfd):
    with Loopback(synthetic_shards) as server:
        server.fail(SHARDS[1], itertools.repeat("corrupt"))
        assert pretrain(server.address, tmp_path / "run", "--data.fetch_tries", "2") == 2
        assert server.starts(SHARDS[1]) == [0, 0]
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(
        f"maedfer pretrain: --data.shards: {SHARDS[1]} could not be fetched from {server.address}/"
    )
    assert "try 2 of 2: its content is not what index.json says (sha256)" in last
