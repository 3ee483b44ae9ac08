"""From sources to batches: domains, the cache of decoded samples, and batches as pure functions of seed and step."""
