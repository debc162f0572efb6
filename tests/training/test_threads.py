"""A model on a CPU leaves its loader a core, unless the user says how many threads it has."""

from types import SimpleNamespace

import pytest
import torch

from maedfer.training.threads import settle_threads


@pytest.mark.parametrize(
    ("device", "workers", "asked", "threads"),
    [("cpu", 1, None, 2), ("cpu", 0, None, 3), ("cpu", 1, "5", 7), ("cuda", 1, None, 7)],
)
def test_threads_of_three_cores(monkeypatch, device, workers, asked, threads):
    monkeypatch.setattr("maedfer.data.cores.usable_cores", lambda: 3)
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
