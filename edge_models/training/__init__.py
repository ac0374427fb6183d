"""How the shipped graphs are made; nothing the device imports may import this."""
