"""The durable source: one schema, two dialects, and the gate that admits the log in order, exactly once."""
