"""What the tests of training share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def empty_pictures(request):
    """Figures are drawn, but each ends as an empty file: pixels take most of the time of a tiny run."""
    if request.path.stem == "test_pictures":
        yield
        return
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, path, **options: Path(path).touch())
        yield
