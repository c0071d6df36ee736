"""Jobs to read, run and start from; see the README beside them."""
