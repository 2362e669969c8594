"""What a run leaves: report.json (record.py), spikes.h5 (spikes.py), report.html (page.py, plot.py)."""
