import os

from maedfer.data.cores import usable_cores, workers_for


def test_cores_are_those_of_the_affinity_where_the_system_knows_it(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert usable_cores() == 3 and [workers_for(devices) for devices in (0, 1, 2, 5)] == [3, 3, 1, 1]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64 and [workers_for(devices) for devices in (1, 8)] == [16, 8]
