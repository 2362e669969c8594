"""Command lines, terminals, errors and files: the parts that all commands of the project share."""
