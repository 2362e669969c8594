"""Clips from files, and the data sets that they belong to. Import the submodules: this file imports nothing."""
