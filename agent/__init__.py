"""The device: capture, stream, store, the person's page."""
