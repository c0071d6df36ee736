"""A ZooKeeper-like coordination service over Zab; the README beside this file says where what is."""
