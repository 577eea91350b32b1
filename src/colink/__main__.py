"""`python -m colink`: the `colink` command, for processes that start another one."""

from colink.bootstrap import main

if __name__ == "__main__":  # a process that is spawned imports this module too
    main()
