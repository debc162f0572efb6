"""The shard format: how samples are stored, read, fetched, verified and described."""
