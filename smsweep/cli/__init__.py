"""The command line: reads arguments, prints answers on stdout and talk on stderr; the sdk does the rest."""
