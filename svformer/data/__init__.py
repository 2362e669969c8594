"""Data: clips from files and the data sets they come from. Import the submodules; nothing is loaded here."""
