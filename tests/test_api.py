"""The public API is lazy; the models are registered in timm."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import maedfer

ROOT = Path(__file__).resolve().parents[1]


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_torch():
    assert "torch" not in modules_after("import maedfer")


def test_models_register_with_timm():
    import timm

    import maedfer.models  # noqa: F401

    assert timm.is_model("lgi_former_base_patch16_160")


@pytest.mark.parametrize("name", sorted(set(maedfer.__all__) - {"__version__"}))
def test_public_names_are_functions(name):
    assert callable(getattr(maedfer, name))
    assert name in dir(maedfer)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_decoder"):
        _ = maedfer.load_decoder


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert maedfer.__version__ == project["version"]
