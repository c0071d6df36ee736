"""The papers' own experiments, at the papers' size. Read README.md first."""
