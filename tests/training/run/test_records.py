"""Tables that survive a kill: rows up to the checkpoint stay, later and half-written ones go."""

from types import SimpleNamespace

from maedfer.training.run.records import KeyRecorder, StepTable, keep_rows_until


def test_a_resumed_table_keeps_rows_up_to_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    table = StepTable(path, ("step", "loss"), resume_step=0)
    for step in range(1, 8):
        table.append({"step": step, "loss": step / 10})
    table.close()
    path.write_text(path.read_text() + "8,0.")

    resumed = StepTable(path, ("step", "loss"), resume_step=5)
    resumed.append({"step": 6, "loss": 0.25})
    resumed.close()
    assert path.read_text() == "step,loss\n1,0.1\n2,0.2\n3,0.3\n4,0.4\n5,0.5\n6,0.25\n"


def test_rows_are_on_disk_at_once(tmp_path):
    table = StepTable(tmp_path / "m.csv", ("step", "loss"), resume_step=0)
    table.append({"step": 1, "loss": 0.5})
    assert (tmp_path / "m.csv").read_text() == "step,loss\n1,0.5\n"
    table.close()


def test_key_lists_are_cut_by_their_first_word(tmp_path):
    path = tmp_path / "rank0.txt"
    path.write_text("1 a-0 0.000\n2 b-0 0.160\n3 c-0 0.0")
    keep_rows_until(path, 2, None, " ")
    assert path.read_text() == "1 a-0 0.000\n2 b-0 0.160\n"


def test_lists_of_ranks_that_are_no_more_are_cut_too(tmp_path):
    """Three ranks were killed after step 3, with a checkpoint of step 2; one goes on alone."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for rank in range(3):
        (folder / f"rank{rank}.txt").write_text(f"2 a-{rank} 0.000\n3 b-{rank} 0.160\n")
    alone = SimpleNamespace(global_rank=0, is_global_zero=True, world_size=1, global_step=2)
    recorder = KeyRecorder(tmp_path)
    recorder.on_train_start(alone, None)
    recorder.teardown(alone, None, "fit")
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    assert kept == {f"rank{rank}.txt": f"2 a-{rank} 0.000\n" for rank in range(3)}
