"""How a service that knows nothing of dsim moves in."""
