"""What stock, reservations and events are, and which moves are legal: pure, no I/O."""
