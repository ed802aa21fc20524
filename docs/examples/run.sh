#!/bin/sh
# Runs an example: it must exit with 0 and print the line. args: the line's text, the program.
out=$("$2") || exit 1
printf '%s\n' "$out"
printf '%s\n' "$out" | grep -qF -- "$1"
