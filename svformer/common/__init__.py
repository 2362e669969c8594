"""What every command of the project shares: command lines, terminals, errors, files."""
