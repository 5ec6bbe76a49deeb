"""Corpora: from archives and folders of recordings to a checked manifest, splits and test lists."""
