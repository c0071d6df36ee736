"""What happens to data in a map or reduce task: synchronous, in a child process, the same everywhere."""
