"""Sources -> batches: order and randomness as pure functions of (seed, epoch, index); the decoded cache."""
