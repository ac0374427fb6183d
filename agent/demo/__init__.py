"""The demo: a coordinator and participants as processes of their own; nothing a device runs."""
