"""Every `trainer/NAME` joins a recipe of either verb, and changes nothing but how it is run."""

import pytest
import yaml
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy

from maedfer.resources import find_config
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.run.recipes import with_recipes

pytestmark = pytest.mark.long

NAMES = sorted(path.stem for path in find_config("trainer/ddp").parent.glob("*.yaml"))
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3, "zero3_offload": 3}


@pytest.mark.parametrize("cli_class", [PretrainCLI, FinetuneCLI])
@pytest.mark.parametrize("name", NAMES)
def test_it_joins_a_recipe(name, cli_class, tmp_path):
    recipes = ["--config", f"{cli_class.verb}/demo", "--config", f"trainer/{name}"]
    # There may be no GPU here.
    here = ["--run", str(tmp_path / "run"), "--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    whole = ["--model.optimizer", "adamw"]  # the demo pre-trains with Muon, which ZeRO does not allow
    cli = cli_class(with_recipes([*recipes, *here, *whole], cli_class.default_run))
    assert cli.trainer.max_steps == {"pretrain": 1200, "finetune": 350}[cli_class.verb]
    assert cli.trainer.world_size == 2
    if name in STAGES:
        zero = cli.trainer.strategy.config["zero_optimization"]
        assert isinstance(cli.trainer.strategy, DeepSpeedStrategy)
        assert zero["stage"] == STAGES[name]
        assert ("offload_optimizer" in zero) == ("offload_param" in zero) == name.endswith("_offload")
    else:
        assert isinstance(cli.trainer.strategy, DDPStrategy)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_when_to_use_it(name):
    text = find_config(f"trainer/{name}").read_text()
    assert text.startswith("# ")
    settings = yaml.safe_load(text)
    assert set(settings) == {"trainer"}
    assert set(settings["trainer"]) == {"accelerator", "devices", "num_nodes", "strategy", "precision"}
