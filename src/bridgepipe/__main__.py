"""``python -m bridgepipe``: the command line, as launchers of several processes start it."""

from bridgepipe.cli import main

main()
