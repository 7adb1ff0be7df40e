"""One public method per thing a caller may want."""
