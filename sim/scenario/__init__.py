"""What a scenario is, and how it is run, in either world."""
