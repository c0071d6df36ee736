"""The coordination service against Apache ZooKeeper 3.8, as processes, under the same load."""
