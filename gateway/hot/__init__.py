"""The hot store: Redis, its scripts, and the connection they travel on."""
