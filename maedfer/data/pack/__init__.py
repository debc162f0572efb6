"""`maedfer pack` and `maedfer merge`: from sources to shard folders."""
