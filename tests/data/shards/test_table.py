"""The table of shards: the index's entries come back from it, and few bytes travel to a worker."""

import hashlib
import pickle

from maedfer.data.shards.format import ShardEntry
from maedfer.data.shards.table import ShardTable


def entry(number, samples=3):
    checksum = hashlib.sha256(str(number).encode()).hexdigest()
    return ShardEntry(f"train-{number:06d}.tar", samples, 10_000_000_000 + number, checksum)


def test_entries_come_back():
    entries = [entry(number, samples=number) for number in range(300)]
    entries += [ShardEntry("train-000300.tar", 1, 2, "ab" * 30 + "0000")]  # NUL bytes are kept
    table = pickle.loads(pickle.dumps(ShardTable.of(entries)))
    assert [table.entry(number) for number in range(len(table))] == entries
    assert (table.samples, table.starts.tolist()[:4]) == (sum(range(300)) + 1, [0, 0, 1, 3])


def test_a_split_without_shards_has_a_table():
    table = ShardTable.of([])
    assert (len(table), table.samples, table.starts.tolist()) == (0, 0, [])


def test_the_fingerprint_follows_the_index():
    table, again = (ShardTable.of([entry(0), entry(1)]) for _ in range(2))
    assert table.fingerprint == again.fingerprint
    others = ([entry(0), entry(2)], [entry(0), entry(1, samples=4)], [entry(1), entry(0)], [entry(0)])
    assert table.fingerprint not in {ShardTable.of(other).fingerprint for other in others}


def test_a_shard_takes_70_bytes():
    assert len(pickle.dumps(ShardTable.of([entry(number) for number in range(5000)]))) < 70 * 5000
