"""The command `dsim`."""
