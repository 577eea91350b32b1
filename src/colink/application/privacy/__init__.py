"""Personal data: sealed before a command records it, opened for those who may read it, and erased."""
