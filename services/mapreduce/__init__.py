"""MapReduce (Dean & Ghemawat, OSDI 2004)."""
