"""`maedfer consolidate`: what a run that died leaves; and the folders that DeepSpeed's checkpoints are."""

import re
import shutil

import pytest
import torch
from helpers.finetuning_runs import arguments as fine_tuning
from safetensors.torch import load_file

import maedfer
from maedfer.__main__ import main
from maedfer.errors import UserError
from maedfer.training.distributed.zero_checkpoint import (
    ZeroCheckpoint,
    aside,
    before,
    repair_checkpoint,
    replace_checkpoint,
    whole_checkpoint,
)
from maedfer.training.run import cli as run_cli

pytestmark = pytest.mark.long


def died(run, copy):
    """A copy of a finished run as a kill before its end leaves it."""
    shutil.copytree(run, copy)
    for name in ("encoder", "classifier"):
        shutil.rmtree(copy / name, ignore_errors=True)
    (copy / "summary.json").unlink()
    return copy


def test_the_encoder_of_a_run_that_died(pretrained, tmp_path, capsys):
    run = died(pretrained, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="maedfer consolidate"):
        maedfer.load_encoder(run)
    assert main(["consolidate", str(run)]) == 0
    assert f"{run / 'encoder'}: 2 steps, from {run / 'checkpoints' / 'last.ckpt'}" in capsys.readouterr().out
    for name in ("config.json", "README.md"):
        assert (run / "encoder" / name).read_text() == (pretrained / "encoder" / name).read_text()
    ours, theirs = (load_file(r / "encoder" / "model.safetensors") for r in (run, pretrained))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_neither_shards_nor_a_finished_run_are_needed(from_scratch, pretrained, tmp_path):
    for source, room in ((from_scratch, "classifier"), (pretrained, "encoder")):
        run = tmp_path / room
        shutil.copytree(source, run)
        (run / room / "model.safetensors").unlink()
        (run / "config.yaml").write_text(
            re.sub(r"shards: .*", "shards: nowhere", (run / "config.yaml").read_text())
        )
        which = "best" if room == "classifier" else "last"
        assert main(["consolidate", str(run), "--checkpoint", which]) == 0
        ours, theirs = (load_file(r / room / "model.safetensors") for r in (run, source))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_classifier_of_the_best_epoch(from_scratch, tmp_path):
    run = died(from_scratch, tmp_path / "run")
    assert main(["consolidate", str(run), "--checkpoint", "best"]) == 0
    ours, theirs = (load_file(r / "classifier" / "model.safetensors") for r in (run, from_scratch))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert maedfer.load_classifier(run).config.output == maedfer.load_classifier(from_scratch).config.output


def test_a_compiled_run_is_consolidated_where_nothing_compiles(pretrained, tmp_path, monkeypatch):
    run = died(pretrained, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("compile: false", "compile: true"))
    assert "compile: true" in (run / "config.yaml").read_text()

    def no_compiler(trainer):
        raise ValueError("no compiler")

    monkeypatch.setattr(run_cli, "prepare_to_compile", no_compiler)
    assert main(["consolidate", str(run)]) == 0


def test_what_cannot_be_consolidated_is_told_in_one_line(pretrained, from_scratch, tmp_path, capsys):
    run = died(pretrained, tmp_path / "run")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"cut")
    moved = died(pretrained, tmp_path / "moved")
    (moved / "config.yaml").write_text(
        (moved / "config.yaml").read_text().replace("embed_dim: 24", "embed_dim: 48")
    )
    for words, message in (
        ([tmp_path / "nowhere"], "holds no run: there is no config.yaml"),
        ([run], "last.ckpt is damaged, or not a checkpoint of a run"),
        ([run, "--checkpoint", "best"], "there is no"),
        ([moved], "does not fit this MaskedPretraining: other shapes"),
        ([pretrained, "--shards", tmp_path / "gone"], "gone"),
    ):
        if "best" in words:
            (run / "checkpoints" / "best.ckpt").unlink(missing_ok=True)
        assert main(["consolidate", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def written(path, content):
    """A checkpoint folder."""
    (path / "checkpoint").mkdir(parents=True)
    (path / "checkpoint" / "weights").write_text(content)


def content(path):
    return (path / "checkpoint" / "weights").read_text()


def test_a_kill_at_any_moment_of_a_replacement_leaves_a_checkpoint(tmp_path, monkeypatch):
    """Every change of the disk in turn is the last one; then the run is resumed, or only read."""
    from pathlib import Path

    from maedfer.training.distributed import zero_checkpoint

    class Killed(BaseException):
        pass

    for survived in range(4):
        path = tmp_path / str(survived) / "last.ckpt"
        written(path, "old")
        written(aside(path), "new")
        left = [survived]

        def counted(change, left=left):
            def changed(*arguments):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return change(*arguments)

            return changed

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(Path.rename))
            patch.setattr(zero_checkpoint.shutil, "rmtree", counted(shutil.rmtree))
            try:
                replace_checkpoint(path)
            except Killed:
                assert survived < 3
        expected = "old" if survived < 2 else "new"
        assert content(whole_checkpoint(path)) == expected
        repair_checkpoint(path)
        assert content(path) == ("new" if survived else "old")
        assert not aside(path).exists() and not before(path).exists()


def test_a_first_checkpoint_cut_short_is_none(tmp_path):
    path = tmp_path / "last.ckpt"
    written(aside(path), "half")
    assert not whole_checkpoint(path).exists()
    repair_checkpoint(path)
    assert not path.exists() and not aside(path).exists()


def test_other_ranks_or_stages_are_refused_with_both_numbers(tmp_path):
    saved = ZeroCheckpoint(tmp_path, stage=2, ranks=4, step=10, shapes={})
    saved.check_same(2, 4)
    for stage, ranks in ((2, 8), (3, 4)):
        message = rf"^resume: .* by 4 ranks under ZeRO 2, this run has {ranks} under ZeRO {stage}"
        with pytest.raises(UserError, match=message):
            saved.check_same(stage, ranks)


def test_a_folder_of_another_kind_is_damaged(tmp_path):
    written(tmp_path / "last.ckpt", "none")
    with pytest.raises(UserError, match=r"^init_from: .* is damaged"):
        ZeroCheckpoint.of(tmp_path / "last.ckpt", "init_from")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--trainer.precision", "16-mixed"), "--trainer.precision: 16-mixed"),
        (("--trainer.gradient_clip_algorithm", "value"), "--trainer.gradient_clip_algorithm: "),
        (("--ema-decay", "0.99"), "--ema-decay: "),
    ],
)
def test_what_deepspeed_cannot_do_is_refused(labelled_shards, tmp_path, capsys, words, message):
    run = tmp_path / "run"
    command = fine_tuning(labelled_shards, run, "--trainer.strategy", "deepspeed_stage_2", *words)
    assert main([*command, "--trainer.accelerator", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not run.exists()


def test_a_missing_library_is_named(labelled_shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("maedfer.training.distributed.zero_strategy.find_spec", lambda name: None)
    command = fine_tuning(labelled_shards, tmp_path / "run", "--trainer.strategy", "deepspeed")
    assert main(command) == 2
    assert "pip install 'maedfer[deepspeed]'" in capsys.readouterr().err
