"""What a file of integers may be, by its ending; nothing here takes long to import."""

NIR = ".nir"  # NIR with the integers beside it (`integers`)
NETX = ".net"  # lava-dl's netx (`netx`), for networks that it can hold
ENDINGS = (NIR, NETX)
