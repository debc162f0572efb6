"""Makes every figure an empty file in the process that imports this, and in those forked from it."""

from pathlib import Path

from matplotlib.figure import Figure

Figure.savefig = lambda self, path, **options: Path(path).touch()
