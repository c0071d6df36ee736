"""A shared file system as a service over one host's disk: what GFS is to MapReduce, in the small."""
