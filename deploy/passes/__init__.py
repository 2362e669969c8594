"""NIR graph -> network -> integers -> plan, one pass a file. A pass leaves its input untouched.

lowering.py lists the passes up to the lowered network; `deploy.pipeline` goes on from there.
"""
