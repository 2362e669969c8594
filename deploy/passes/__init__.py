"""Network -> network, one pass a file; `deploy.pipeline` lists them in order. A pass leaves its input untouched."""
