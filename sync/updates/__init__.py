"""What may enter a device: signed, fresh, never older, in pieces over its one connection."""
