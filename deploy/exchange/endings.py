"""What a file of integers may be, by its ending; nothing here takes long to import."""

NIR = ".nir"  # NIR with the integers beside it (`integers`)
ENDINGS = (NIR,)
