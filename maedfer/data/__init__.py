"""From videos to batches: decoding, faces, packing, the shard format, the plan and stream of training, views.

`pack` writes shards (`sources`, `video`, `faces`, `encoding`, `records`, `shards`), `datamodule` reads them
(`plan`, `shard_reader`, `stream`, `loader`, `transforms`), `synthetic` draws faces that belong to nobody.
"""
