"""The files of an archive: written durably, locked, and listed in a manifest."""
