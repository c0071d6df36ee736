"""MapReduce at work, and under attack."""
