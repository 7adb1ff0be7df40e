"""From the log to the durable store: exactly once, in order, and whoever waits for a commit is told."""
