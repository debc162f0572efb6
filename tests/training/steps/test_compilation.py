"""`--model.compile`: the same losses, weights under the same names, and one line where it cannot work."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers import finetuning_runs
from helpers.pretraining_runs import arguments, rows
from helpers.two_ranks import on_two, run_together
from safetensors.torch import load_file

from maedfer.__main__ import main
from maedfer.errors import UserError
from maedfer.training.distributed.refusals import prepare_to_compile
from maedfer.training.distributed.zero_strategy import ZeroStrategy

pytestmark = pytest.mark.long

COMPILE = ("--model.compile", "true")
EXACT = ("--trainer.precision", "32-true")


@pytest.fixture(params=["eager"])
def graphs(monkeypatch, request):
    """Graphs instead of kernels: what is compiled runs as it was traced, without a C++ compiler.

    Every graph that is made is in the list. With `aot_eager` it goes through autograd's compiler too.
    """
    made = []
    compiler = torch._dynamo.lookup_backend(request.param)

    def backend(graph, inputs):
        made.append(graph)
        return compiler(graph, inputs)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    yield made
    torch.compiler.reset()


@pytest.fixture(scope="module")
def plain(synthetic_shards, tmp_path_factory):
    run = tmp_path_factory.mktemp("plain") / "run"
    assert main(arguments(synthetic_shards, run, *EXACT, steps=6)) == 0
    return run


def losses(run):
    return [float(row["loss"]) for row in rows(run)]


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("graphs", ["aot_eager"], indirect=True)
def test_a_compiled_run_is_the_same_run(graphs, plain, synthetic_shards, tmp_path):
    run = tmp_path / "run"
    assert main(arguments(synthetic_shards, run, *EXACT, *COMPILE, steps=6)) == 0
    assert len(graphs) == 2  # the tiny one that asks whether it works, and the step: none for the evaluation
    assert losses(run) == pytest.approx(losses(plain), rel=1e-4)
    assert weights(run).keys() == weights(plain).keys()
    exported = [load_file(folder / "encoder" / "model.safetensors") for folder in (run, plain)]
    assert exported[0].keys() == exported[1].keys()
    for name, value in exported[1].items():
        torch.testing.assert_close(exported[0][name], value, rtol=1e-3, atol=1e-4)


def test_a_compiled_run_goes_on_without(graphs, synthetic_shards, tmp_path):
    run = tmp_path / "run"
    resumed = ["pretrain", "--run", str(run), "--resume", "--trainer.max_steps"]
    assert main(arguments(synthetic_shards, run, *EXACT, *COMPILE, steps=2)) == 0
    compiled = weights(run)
    assert main([*resumed, "4", "--model.compile", "false"]) == 0
    assert len(graphs) == 2
    assert weights(run).keys() == compiled.keys()
    assert len(losses(run)) == 4 and max(losses(run)) < 2 * losses(run)[0]


def test_fine_tuning_with_everything_that_draws(graphs, labelled_shards, tmp_path):
    runs = {}
    for name, more in {"plain": (), "compiled": COMPILE, "again": COMPILE}.items():
        run = runs[name] = tmp_path / name
        words = (*EXACT, "--ema_decay", "0.9", *more)
        assert main(finetuning_runs.arguments(labelled_shards, run, *words, steps=3)) == 0
    assert len(graphs) == 4
    tables = {name: finetuning_runs.table(run / "metrics.csv") for name, run in runs.items()}
    assert tables["again"] == tables["compiled"]
    for a, b in zip(tables["plain"], tables["compiled"], strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-4)
    states = [load_file(runs[name] / "classifier" / "model.safetensors") for name in ("plain", "compiled")]
    assert states[0].keys() == states[1].keys()


def test_a_probe_compiles(graphs, labelled_shards, pretrained, tmp_path):
    words = ("--init-from", str(pretrained), "--freeze-encoder", *EXACT)
    tables = []
    for name, more in {"plain": (), "compiled": COMPILE}.items():
        command = finetuning_runs.arguments(labelled_shards, tmp_path / name, *words, *more, steps=3)
        assert main(command) == 0
        tables.append([float(row["loss"]) for row in finetuning_runs.table(tmp_path / name / "metrics.csv")])
    assert len(graphs) == 2 and tables[0] == pytest.approx(tables[1], rel=1e-4)


@pytest.mark.parametrize("graphs", ["aot_eager"], indirect=True)
def test_checkpointed_blocks_compile_too(graphs, plain, synthetic_shards, tmp_path):
    run, saving = tmp_path / "run", ("--model.grad_checkpointing", "true")
    assert main(arguments(synthetic_shards, run, *EXACT, *COMPILE, *saving, steps=6)) == 0
    assert len(graphs) == 2 and losses(run) == pytest.approx(losses(plain), rel=1e-4)


def test_no_compiler_is_one_line_and_no_run(synthetic_shards, tmp_path, capsys):
    nothing = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    with torch._inductor.config.patch(nothing):
        assert main(arguments(synthetic_shards, tmp_path / "run", *COMPILE)) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--model.compile" in message and "no-such-compiler" in message and "g++" in message
    assert not (tmp_path / "run").exists()


def test_split_weights_are_refused():
    trainer = SimpleNamespace(strategy=ZeroStrategy(stage=3))
    with pytest.raises(UserError, match=r"^compile: .*ZeRO 3.*deepspeed_stage_2"):
        prepare_to_compile(trainer)


@pytest.mark.timeout(480)
def test_kernels_on_two_ranks(synthetic_shards, tmp_path):
    ways = {"plain": ("ddp", ()), "ddp": ("ddp", COMPILE), "zero2": ("zero2", COMPILE)}
    shallow = ("--model.model_args.depth", "1")
    run_together(
        [
            arguments(synthetic_shards, tmp_path / name, *EXACT, *on_two(strategy), *more, *shallow, steps=3)
            for name, (strategy, more) in ways.items()
        ],
        tmp_path / "logs",
        timeout=400,
    )
    for name in ("ddp", "zero2"):
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)
