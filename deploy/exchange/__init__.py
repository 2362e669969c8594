"""Integer networks as files that others read and write: NIR with the integers beside it, and lava-dl's netx.

`stored` makes plain values of a network and back, field by field; `view` makes the NIR graph of it that any reader
takes; `integers` puts both into one graph.
"""
