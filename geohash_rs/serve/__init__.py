"""One page on this machine to search an archive on a map; needs the extra ``serve``."""
