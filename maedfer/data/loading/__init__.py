"""From shards to batches: plan, stream, clips, data modules."""
