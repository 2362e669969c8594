"""The integer network in PyTorch: the same integers as `deploy.ir.integer`, on any device, with surrogate gradients."""
