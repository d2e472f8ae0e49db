# Targets around the build: deps, run, test, bench, lint, install. Included by the Makefile.
