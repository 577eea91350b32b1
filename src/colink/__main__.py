"""`python -m colink`: the `colink` command, for processes that start another one."""

from colink.bootstrap import main

main()
