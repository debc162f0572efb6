"""The tasks that a model is trained for."""

from __future__ import annotations

from typing import Literal

TaskName = Literal["classify", "multilabel", "regress"]
Task = TaskName
