import os

from maedfer.processes.cores import threads_for, usable_cores, workers_for


def test_cores_are_those_of_the_affinity_where_the_system_knows_it(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64


def test_training_and_loading_both_leave_a_core_of_each_device(monkeypatch):
    for cores, devices, workers, threads, alone in (
        (1, 1, 1, 1, 1),
        (2, 1, 1, 1, 2),
        (2, 2, 1, 1, 1),
        (3, 0, 2, 2, 3),
        (8, 1, 7, 7, 8),
        (64, 1, 16, 63, 64),
        (64, 8, 7, 7, 8),
    ):
        monkeypatch.setattr("maedfer.processes.cores.usable_cores", lambda cores=cores: cores)
        assert workers_for(devices) == workers
        assert (threads_for(devices, workers), threads_for(devices, 0)) == (threads, alone)
