"""Reading, joining and exporting traces."""
