"""Operations: what a connection makes of the messages of one frame. One file an operation, all forms of it inside.

`Operation` (base.py) says what every operation answers in real numbers, `IntOperation` what it answers in integers:
shapes, intervals, rounded form, counts, and what a chip makes of it. Passes ask the operation; they do not look at its
type. A node of NIR that only this operation can be stands beside it. A new operation is a file here and its name in
`FILES` of table.py, and a line in the engine's table of kernels where it has a fast one.
"""
