"""What is said on the wire, and the schema of traces and histories."""
