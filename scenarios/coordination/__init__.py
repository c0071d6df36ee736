"""Coordination under attack: ZooKeeper's promises, checked."""
