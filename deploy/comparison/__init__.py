"""Several networks side by side, the ReLU counterpart of SVFormer among them."""
