"""`python -m smsweep` is `smsweep`."""

from smsweep.cli.main import main

if __name__ == "__main__":
    main()
