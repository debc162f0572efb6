import pytest

from maedfer.data.pack.job import SourceResult
from maedfer.data.pack.spool import ShardFiller, Spool
from maedfer.errors import UserError


def test_two_samples_of_one_key_are_refused_with_the_remedy(tmp_path):
    filler = ShardFiller(tmp_path, Spool(tmp_path), max_bytes=1000, max_samples=10)
    filler.add(0, "train", SourceResult("ok", samples=[("a-12345678-000", 10)]))
    with pytest.raises(UserError, match=r"^sources: .*a-12345678-000: .* same hash .*; rename one"):
        filler.add(1, "train", SourceResult("ok", samples=[("a-12345678-000", 10)]))
