"""What a trained network does with clips: accuracy, spikes, agreement with another network."""
