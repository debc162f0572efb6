"""A model on a CPU leaves its loader a core, unless the user says how many threads it has."""

import os
from types import SimpleNamespace

import pytest
import torch

from maedfer.training.distributed.threads import settle_threads


@pytest.mark.parametrize(
    ("device", "workers", "asked", "threads"),
    [("cpu", 1, None, 2), ("cpu", 0, None, 3), ("cpu", 1, "5", 7), ("cuda", 1, None, 7)],
)
def test_threads_of_three_cores(monkeypatch, device, workers, asked, threads):
    monkeypatch.setattr("maedfer.processes.cores.usable_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    trainer = SimpleNamespace(num_devices=1, strategy=SimpleNamespace(root_device=torch.device(device)))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        settle_threads(trainer, workers)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_several_processes_of_a_machine_share_its_cores(monkeypatch):
    """Lightning gives each its share of all cores, unless the environment says something."""
    monkeypatch.setattr("maedfer.processes.cores.usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "so that it is as before afterwards")
    monkeypatch.delenv("OMP_NUM_THREADS")
    trainer = SimpleNamespace(num_devices=2, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    before = torch.get_num_threads()
    try:
        settle_threads(trainer, workers=1)
        assert torch.get_num_threads() == 3 and os.environ["OMP_NUM_THREADS"] == "3"
    finally:
        torch.set_num_threads(before)
