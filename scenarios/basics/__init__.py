"""The lab's own parts, one at a time: links, clocks, disks, a log on two hosts."""
