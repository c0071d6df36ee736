"""The systems themselves, written once for both worlds; nothing here imports `sim`."""
