"""A deployment at work: one batch of clips on a backend, many batches in one process or on many machines."""
